"""What the safety layer needs of a motor bus, and that need with a stopwatch in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from onboard.stopwatch import Section, Stopwatch


class Wire(Protocol):
    """The side of the bus that moves motors. :class:`onboard.bus.Bus` is one."""

    @property
    def watchdog_s(self) -> float:
        """Silence after which the motors stop themselves, as armed."""
        ...

    def write(self, goal: Sequence[float]) -> None:
        """Send goals, one per actuated joint. Raises BusError if nothing was sent."""

    def power_on(self, may: Callable[[], bool]) -> Sequence[float]:
        """Torque on without motion, as long as ``may`` says so; the goals then in force.

        Raises BusError.
        """
        ...

    def power_off(self) -> list[str]:
        """Torque off everywhere; one line per motor that did not confirm. Never raises."""
        ...

    def power_off_step(self, anew: bool) -> list[str]:
        """Likewise, each motor told and asked at most once. Never raises."""
        ...

    def cut(self) -> None:
        """Torque off everywhere, unconfirmed; any thread may call it. Never raises, never waits."""


class TimedWire:
    """A wire that tells the stopwatch where limiting ends and where writing does."""

    def __init__(self, wire: Wire, stopwatch: Stopwatch) -> None:
        self._wire, self._stopwatch = wire, stopwatch

    @property
    def watchdog_s(self) -> float:
        """As the wire says."""
        return self._wire.watchdog_s

    def write(self, goal: Sequence[float]) -> None:
        """As the wire does it; what came before is the lap of ``limit``."""
        self._stopwatch.lap(Section.LIMIT)
        try:
            self._wire.write(goal)
        finally:
            self._stopwatch.lap(Section.WRITE)

    def power_on(self, may: Callable[[], bool]) -> Sequence[float]:
        """As the wire does it."""
        return self._wire.power_on(may)

    def power_off(self) -> list[str]:
        """As the wire does it."""
        return self._wire.power_off()

    def power_off_step(self, anew: bool) -> list[str]:
        """As the wire does it."""
        return self._wire.power_off_step(anew)

    def cut(self) -> None:
        """As the wire does it; no lap, for it may be another thread's."""
        self._wire.cut()
