"""Torque of every motor of a bus whose nodes have registers: on if it may, off in any case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from onboard.bus import permitted
from onboard.line import Line
from onboard.registers import Registers
from protocol.errors import BusError
from protocol.register import Register
from protocol.robot_spec import Joint

FrameT = TypeVar("FrameT")


class TorqueSwitch(Generic[FrameT]):
    """For all ``motors`` at once by a packet; off also for each of them, confirmed.

    Args:
        line: to the motors.
        registers: of the motors.
        motors: all that have torque.
        enable: register that holds 1 for torque, 0 for none.
        sync_write: packet that writes as many bytes at an address of each ``(node, bytes)``.
    """

    def __init__(
        self,
        line: Line[FrameT],
        registers: Registers[FrameT],
        motors: Sequence[Joint],
        enable: Register,
        sync_write: Callable[[int, int, Iterable[tuple[int, bytes]]], bytes],
    ) -> None:
        self._line, self._registers = line, registers
        self._motors, self._enable = motors, enable
        self._off, self._on = (
            sync_write(enable.address, enable.size, [(m.id, enable.pack(value)) for m in motors])
            for value in (0, 1)
        )

    def on(self, may: Callable[[], bool]) -> None:
        """Unconfirmed, and only if ``may`` says so.

        Raises:
            BusError: it does not; or not any more, and a cut may have come before the packet, so
                that another has to follow; or the line does not take the packet.
        """
        permitted(may)
        self._line.send(self._on)
        permitted(may)

    def cut(self) -> None:
        """Unconfirmed; any thread may, and it never raises and never waits."""
        self._line.overtake(self._off)

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
