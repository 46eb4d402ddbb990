"""A motor bus in memory that answers from frames made beforehand, and allocates nothing that stays.

For what a whole simulated rig would blur: how the loop itself behaves over ten thousand ticks.
"""

from __future__ import annotations

import struct

from made_rig import Clock

from protocol import dynamixel as dxl
from protocol import xl330
from protocol.robot_spec import RobotSpec
from sim_harness.firmware import firmware_for
from sim_harness.wire_end import Reading


class MemoryPort:
    """Joints at rest at home; set-up is answered by the firmware, readings by one stored frame."""

    def __init__(self, spec: RobotSpec, clock: Clock) -> None:
        self.clock, self._firmware = clock, firmware_for(spec)
        rest = Reading(0, 0.0, 0.0, voltage_v=5.0, temperature_c=25.0)
        self._firmware.sense([rest] * len(spec.joints))
        ids = [joint.id for joint in spec.joints]
        at, size = xl330.PRESENT_CURRENT.address, 10
        self._asked = dxl.make_fast_sync_read(at, size, ids)
        present = struct.pack("<hii", 0, 0, xl330.CENTRE_COUNT)
        answers = [dxl.Status(node, 0, False, present) for node in ids]
        self._reading = dxl.make_fast_status(answers)
        self._answer = b""

    def write(self, data: bytes) -> None:
        if data == self._asked:
            self._answer = self._reading
            return
        replies = self._firmware.receive(data, self.clock.ns)
        self._answer = b"".join(reply.data for reply in replies)

    def read(self, timeout_s: float) -> bytes:
        data, self._answer = self._answer, b""
        self.clock.sleep(1e-4 if data else timeout_s)
        return data

    def discard_input(self) -> None:
        self._answer = b""

    def close(self) -> None:
        self._answer = b""
