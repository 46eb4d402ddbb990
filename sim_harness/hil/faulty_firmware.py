"""The motor bus with what is wrong with it: a :class:`Firmware` around another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from protocol.robot_spec import Imu, Joint, RobotSpec
from protocol.xl330 import RAD_PER_COUNT
from sim_harness.firmware import Firmware
from sim_harness.hil.faults import (
    IMU,
    Babble,
    BrownOut,
    Dead,
    Delay,
    Drop,
    Duplicate,
    Flip,
    Frozen,
    Half,
    Hot,
    ImuFault,
    Jump,
    NodeFault,
    Noisy,
    Overloaded,
    Reboot,
    Stuck,
    WireFault,
    joint_of,
    node_of,
)
from sim_harness.hil.faulty_imu import FaultyImu
from sim_harness.hil.wire_noise import damaged, damaged_reply
from sim_harness.wire_end import Attitude, Demand, Reading, Reply, Setpoint

RESET_BELOW_V = 2.0
"""No node's processor runs on less."""
VELOCITY_WINDOW_S = 0.02
"""A node's speed is how far its encoder moved in so long: a false place is a false speed, too."""


class FaultyFirmware:
    """See :class:`sim_harness.firmware.Firmware`; without faults it changes nothing."""

    def __init__(
        self,
        firmware: Firmware,
        spec: RobotSpec,
        rng: np.random.Generator,
        time_ns: Callable[[], int],
    ) -> None:
        """``time_ns`` is the end of the last physics step."""
        self._firmware, self._spec, self._rng, self._time_ns = firmware, spec, rng, time_ns
        self._wire: list[WireFault] = []
        self._nodes: list[NodeFault] = []
        self._held: dict[NodeFault, list[Reading]] = {}
        self._leaps: list[tuple[int, int, float]] = []
        self._shown: list[Reading] = []
        self._imu = FaultyImu(rng)
        self.absent = firmware.absent

    @property
    def frames(self) -> int:
        """Valid instruction packets seen."""
        return self._firmware.frames

    @property
    def crc_errors(self) -> int:
        """Packets ignored because their checksum was wrong."""
        return self._firmware.crc_errors

    def begin(self, fault: WireFault | NodeFault) -> None:
        """From now on."""
        if isinstance(fault, (Drop, Flip, Duplicate, Half, Delay, Babble)):
            self._wire.append(fault)
            return
        self._nodes.append(fault)
        self._held.setdefault(fault, self._shown)
        self._leap(fault, 1.0)
        self.absent.update(node.id for node in self._without_power(fault))

    def end(self, fault: WireFault | NodeFault) -> None:
        """No longer; a node that had no power starts anew."""
        if isinstance(fault, (Drop, Flip, Duplicate, Half, Delay, Babble)):
            self._wire.remove(fault)
            return
        self._nodes.remove(fault)
        self._leap(fault, -1.0)
        if fault not in self._nodes:
            del self._held[fault]
        off = {node.id for other in self._nodes for node in self._without_power(other)}
        for node in self._without_power(fault):
            if node.id not in off:
                self.absent.discard(node.id)
                self._firmware.restart(node.id)

    def restart(self, node_id: int) -> None:
        """What a power cycle does to a node."""
        self._firmware.restart(node_id)

    def demands(self, now_ns: int) -> Sequence[Demand]:
        """What the nodes that have power ask of their motors."""
        asked = self._firmware.demands(now_ns)
        if not self.absent:
            return asked
        return [
            _nothing(demand) if joint.id in self.absent else demand
            for joint, demand in zip(self._spec.joints, asked, strict=True)
        ]

    def sense(self, readings: Sequence[Reading]) -> None:
        """What the nodes believe to see."""
        for fault in self._nodes:
            readings = self._altered(readings, fault)
        readings = self._leapt(readings)
        self._shown = [*readings]
        self._firmware.sense(readings)

    def feel(self, attitude: Attitude) -> None:
        """What the IMU believes to feel."""
        self._firmware.feel(self._imu.feel(attitude, self._time_ns(), self._nodes))

    def receive(self, data: bytes, now_ns: int) -> list[Reply]:
        """Bytes from the host, and answers, over a wire that may be bad."""
        if not self._wire:
            return self._firmware.receive(data, now_ns)
        replies = self._firmware.receive(damaged(data, self._wire, self._rng), now_ns)
        return [damaged_reply(reply, self._wire, self._rng) for reply in replies]

    def _without_power(self, fault: NodeFault) -> list[Joint | Imu]:
        if isinstance(fault, BrownOut):
            imu = node_of(IMU, self._spec)
            everybody = [*self._spec.joints, *([] if imu is None else [imu])]
            return everybody if fault.supply_v < RESET_BELOW_V else []
        if isinstance(fault, (Dead, Reboot)):
            node = node_of(fault.node, self._spec)
            return [] if node is None else [node]
        return []

    def _altered(self, readings: Sequence[Reading], fault: NodeFault) -> Sequence[Reading]:
        if isinstance(fault, Frozen) and fault.node == "all":
            return self._held[fault] or readings
        if isinstance(fault, (Frozen, BrownOut, Dead, Reboot, ImuFault)):
            return readings  # of the IMU, the plant's supply, or of nobody who could tell
        index = self._index(fault.joint)
        seen = self._false(readings[index], fault, index)
        return [seen if at == index else reading for at, reading in enumerate(readings)]

    def _false(self, reading: Reading, fault: NodeFault, index: int) -> Reading:
        """One node's reading under ``fault``."""
        if isinstance(fault, Hot):
            return reading._replace(temperature_c=fault.temperature_c)
        if isinstance(fault, Overloaded):
            return reading._replace(overloaded=True)
        if isinstance(fault, Stuck):
            held = self._held[fault][index] if self._held[fault] else reading
            return reading._replace(counts=held.counts, velocity_rad_s=0.0)
        if isinstance(fault, Jump):
            return reading._replace(counts=reading.counts + _counts(fault.offset_rad))
        if isinstance(fault, Noisy):
            before_rad, now_rad = self._rng.normal(0.0, fault.sigma_rad, 2)
            return reading._replace(
                counts=reading.counts + _counts(now_rad),
                velocity_rad_s=reading.velocity_rad_s + (now_rad - before_rad) / VELOCITY_WINDOW_S,
            )
        return reading

    def _leap(self, fault: NodeFault, sign: float) -> None:
        """What a place that changes at once does to the speed."""
        if isinstance(fault, Jump):
            rad_s = sign * fault.offset_rad / VELOCITY_WINDOW_S
            until_ns = self._time_ns() + round(VELOCITY_WINDOW_S * 1e9)
            self._leaps.append((until_ns, self._index(fault.joint), rad_s))

    def _leapt(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        now_ns = self._time_ns()
        self._leaps = [leap for leap in self._leaps if leap[0] > now_ns]
        seen = [*readings]
        for _, index, rad_s in self._leaps:
            seen[index] = seen[index]._replace(velocity_rad_s=seen[index].velocity_rad_s + rad_s)
        return seen

    def _index(self, joint: str) -> int:
        return self._spec.joint_index(_name(joint_of(joint, self._spec)))


def _nothing(demand: Demand) -> Demand:
    """What a motor without power does."""
    return demand._replace(duty_max=0.0) if isinstance(demand, Setpoint) else 0.0


def _name(joint: Joint | None) -> str:
    return "" if joint is None else joint.name


def _counts(angle_rad: float) -> int:
    return round(angle_rad / RAD_PER_COUNT)
