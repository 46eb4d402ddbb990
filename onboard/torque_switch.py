"""Takes the torque away from every motor of a bus whose nodes have registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from onboard.line import Line
from onboard.registers import Registers
from protocol.errors import BusError
from protocol.register import Register
from protocol.robot_spec import Joint

FrameT = TypeVar("FrameT")


class TorqueSwitch(Generic[FrameT]):
    """For all ``motors`` at once by ``packet``, and for each of them confirmed."""

    def __init__(
        self,
        line: Line[FrameT],
        registers: Registers[FrameT],
        motors: Sequence[Joint],
        enable: Register,
        packet: bytes,
    ) -> None:
        self._line, self._registers = line, registers
        self._motors, self._enable, self._packet = motors, enable, packet

    def cut(self) -> None:
        """Unconfirmed; any thread may, and it never raises and never waits."""
        self._line.overtake(self._packet)

    def off(self) -> list[str]:
        """One line per motor that did not confirm, whatever the others do; never raises."""
        failures = []
        self.cut()  # every motor hears it before anything can wait
        for joint in self._motors:
            try:
                self._registers.set(joint, self._enable, 0)
            except BusError as error:
                failures.append(f"{joint.name}: torque may still be on ({error})")
        return failures
