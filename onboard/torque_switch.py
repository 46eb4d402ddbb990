"""Torque of every motor of a bus whose nodes have registers: on if it may, off in any case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from onboard.bus import named, permitted
from onboard.line import Line
from onboard.registers import SETUP_TIMEOUT_S, SETUP_TRIES, Registers
from protocol.errors import BusError
from protocol.register import Register
from protocol.robot_spec import Joint

FrameT = TypeVar("FrameT")


class TorqueSwitch(Generic[FrameT]):
    """For all ``motors`` at once by a packet; off also confirmed by each of them.

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
        self._unsure = [*motors]
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
        """Until every motor has confirmed, or has been asked as often as is of use; never raises.

        Returns:
            One line per motor that did not confirm.
        """
        failures = self.step(True, SETUP_TIMEOUT_S)
        for _ in range(len(self._motors) + SETUP_TRIES):
            if not failures:
                break
            failures = self.step(False, SETUP_TIMEOUT_S)
        return failures

    def step(self, anew: bool, timeout_s: float) -> list[str]:
        """Every motor is told once, those that have not confirmed are asked once; never raises.

        Args:
            anew: whoever confirmed in an earlier step has to do so again.
            timeout_s: for all the answers together.

        Returns:
            One line per motor that has not confirmed.
        """
        self._line.revive()
        self.cut()  # every motor hears it before anything can wait
        if anew:
            self._unsure = [*self._motors]
        try:
            held = self._registers.survey(self._unsure, self._enable, timeout_s)
        except BusError as error:
            return [f"{joint.name}: torque may still be on ({error})" for joint in self._unsure]
        self._unsure = _silent_last([each for each in self._unsure if held.get(each.id) != 0], held)
        return [_doubt(joint, held) for joint in self._unsure]


def _silent_last(motors: Sequence[Joint], held: Mapping[int, int]) -> list[Joint]:
    """The first that said nothing at the end: the nodes behind it wait for its answer."""
    silent = [joint for joint in motors if joint.id not in held][:1]
    return [joint for joint in motors if joint not in silent] + silent


def _doubt(joint: Joint, held: Mapping[int, int]) -> str:
    reason = "has not taken it" if joint.id in held else "does not answer"
    return f"{joint.name}: torque may still be on ({named(joint)} {reason})"
