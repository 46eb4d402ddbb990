"""The tick's eyes: every joint, and the slow registers that are due.

Without an answer the last reading stays, and the tick says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onboard.bus import Bus, Check, Fact
from onboard.lifecycle import BUS_UNUSED
from onboard.modes import Event
from onboard.safety import Safety
from onboard.stopwatch import Section, Stopwatch
from onboard.tick import Tick
from protocol.errors import BusError
from protocol.modes import MOVING, Mode
from protocol.observation import Observer
from protocol.robot_spec import RobotSpec

CHECK_EVERY_TICKS = 5
SILENCE_SHARE = 0.9
"""Of the motors' watchdog time: after so long without a command they are asked whether it bit."""


class Senses:
    """Reads the bus once per tick."""

    def __init__(
        self,
        spec: RobotSpec,
        bus: Bus,
        observer: Observer,
        safety: Safety,
        stopwatch: Stopwatch,
        clock_ns: Callable[[], int],
    ) -> None:
        self._bus, self._observer, self._safety = bus, observer, safety
        self._stopwatch, self._clock_ns = stopwatch, clock_ns
        self._silence_ns = int(SILENCE_SHARE * spec.bus.watchdog_s * 1e9)

    def sense(self, tick: Tick, mode: Mode) -> Sequence[tuple[Event, str]]:
        """Fill observation and readings of ``tick``; what the registers mean, mostly nothing."""
        now_ns = tick.sense_ns = self._clock_ns()
        if mode in BUS_UNUSED:
            return ()
        silent = mode in MOVING and now_ns - tick.bus_ns > self._silence_ns
        checks = self._read(tick, silent)
        if tick.missed:
            return ()
        tick.sensed, tick.bus_ns = True, now_ns
        self._observer.observe(self._bus.position_rad, now_ns * 1e-9, self._bus.inertial)
        self._stopwatch.lap(Section.OBSERVE)
        return [verdict for check in checks if (verdict := self._safety.judge(check))]

    def _read(self, tick: Tick, silent: bool) -> Sequence[Check]:
        """Joints and slow registers; what fails is missed."""
        try:
            self._bus.read()
            return self._checks(tick.wake.tick, silent)
        except BusError as error:
            tick.missed = str(error)
            return ()
        finally:
            self._stopwatch.lap(Section.READ)

    def _checks(self, tick: int, silent: bool) -> Sequence[Check]:
        """Slow registers to read in this tick: the suspicious ones, and the next in turn."""
        checks: list[Check] = []
        if self._bus.alert:
            checks += self._bus.check_all(Fact.FAULT)
        if silent:
            checks += self._bus.check_all(Fact.WATCHDOG)
        if tick % CHECK_EVERY_TICKS == 0:
            checks += self._bus.check_next()
        return checks
