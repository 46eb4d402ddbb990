"""The tick's hands: who decides in this mode, and one command through the envelope."""

from __future__ import annotations

from collections.abc import Callable

from onboard.bus import Bus
from onboard.episode import Episode
from onboard.homing import Homing
from onboard.lifecycle import Lifecycle
from onboard.modes import Event
from onboard.pilot import Pilot
from onboard.safety import Safety
from onboard.stopwatch import Section, Stopwatch
from onboard.tick import Driver, FloatArray, Tick
from protocol.envelope import Limited
from protocol.errors import BusError
from protocol.modes import Mode
from protocol.observation import Observer
from protocol.step_record import End


class Helm:
    """Steers while the motors are powered.

    Attributes:
        interventions: commands of RUN that the envelope changed, since the start.
    """

    def __init__(
        self,
        bus: Bus,
        observer: Observer,
        safety: Safety,
        life: Lifecycle,
        pilot: Pilot,
        homing: Homing,
        episode: Episode,
        stopwatch: Stopwatch,
        clock_ns: Callable[[], int],
    ) -> None:
        self._bus, self._observer, self._safety, self._life = bus, observer, safety, life
        self._pilot, self._homing, self._episode = pilot, homing, episode
        self._stopwatch, self._clock_ns = stopwatch, clock_ns
        self.interventions = 0

    def steer(self, tick: Tick) -> None:
        """Send one command through the envelope, or zero where the joints are not known."""
        tick.previous[:] = self._safety.applied
        try:
            limited = self._act(tick) if tick.sensed else self._coast(tick)
        except BusError as error:
            tick.missed = str(error)
            return
        tick.bus_ns, tick.sent = self._clock_ns(), True
        if limited:
            tick.flags |= int(limited)
        self._observer.applied(self._safety.applied)
        if self._life.mode is Mode.RUN:
            self.interventions += bool(limited)
            self._episode.act(self._observer.vector, self._safety.applied, bool(limited))

    def _act(self, tick: Tick) -> Limited:
        tick.commanded = self._choose(tick)
        self._stopwatch.lap(Section.INFER)
        return self._safety.command(tick.commanded, self._bus.position_rad, self._observer.velocity)

    def _coast(self, tick: Tick) -> Limited:
        tick.driver = Driver.COAST
        return self._safety.coast()

    def _choose(self, tick: Tick) -> FloatArray:
        """Unit actions of this tick's mode."""
        if self._life.mode is Mode.RUN:
            tick.end = self._episode.observe(self._observer.vector)
            self._stopwatch.lap(Section.OBSERVE)
        driver = tick.driver = self._responsible(tick.end)
        if driver is Driver.POLICY:
            return self._ask_policy(tick)
        if driver is Driver.HOMING:
            observer = self._observer
            tick.requested = self._homing.update(
                self._bus.position_rad, observer.velocity, observer.tilt_rad
            )
            return tick.requested
        return self._safety.still

    def _responsible(self, end: End) -> Driver:
        """Who decides in this tick; nobody once an episode is over."""
        mode = self._life.mode
        if mode is Mode.RUN and end is End.RUNNING:
            return Driver.POLICY
        return Driver.HOMING if mode is Mode.HOMING or mode is Mode.RECOVER else Driver.ZERO

    def _ask_policy(self, tick: Tick) -> FloatArray:
        """The policy's command; one that fails for good ends in HOLD."""
        pilot = self._pilot
        action = pilot.ask(self._observer.vector)
        tick.flags |= pilot.flags
        tick.requested, tick.asked, tick.draw = pilot.requested, pilot.asked, pilot.draw
        if action is None:
            reason = "the policy is unusable and no previous one is left"
            self._life.post(Event.BAD_POLICY, reason)
            return self._safety.still
        return action
