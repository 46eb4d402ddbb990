"""How long the loop puts up with something: late ticks, a dead bus, a mode that does not end."""

from __future__ import annotations

from onboard.episode import Episode
from onboard.hotswap import HotSwap
from onboard.lifecycle import BUS_UNUSED, Lifecycle
from onboard.modes import Event
from onboard.safety import Run
from onboard.tick import GAP, LATE, STALE_SENSOR, Tick
from protocol.modes import MOVING, Mode
from protocol.robot_spec import RobotSpec

HOLD_S = 0.5
HOLDS_TO_GIVE_UP = 3
"""HOLDs without a completed episode between them before the robot stops trying."""
_SETTLING = frozenset({Mode.HOMING, Mode.RECOVER})


class Patience:
    """Counts and times what must not last.

    Attributes:
        late: late ticks in a row and in total.
        misses: ticks in a row and in total in which a bus access failed.
    """

    def __init__(
        self, spec: RobotSpec, life: Lifecycle, swap: HotSwap, episode: Episode, late: Run
    ) -> None:
        self._life, self._swap, self._episode = life, swap, episode
        self._settle_s, self._operator_s = spec.homing.timeout_s, spec.safety.operator_timeout_s
        self._late_ns = round(1e9 * spec.tick_s) // 2
        self.late, self.misses = late, Run(spec.bus.misses_to_fault)

    def watch(self, tick: Tick) -> None:
        """Lateness and time-outs, before the tick acts."""
        self._count_late(tick)
        life, now_ns = self._life, tick.wake.started_ns
        if life.mode in _SETTLING:
            if (in_mode_s := (now_ns - life.entered_ns) * 1e-9) > self._settle_s:
                reason = f"not settled after {in_mode_s:.0f} s of {life.mode.name}"
                life.post(Event.TIMEOUT, reason)
        elif life.mode is Mode.HOLD and (now_ns - life.entered_ns) * 1e-9 > HOLD_S:
            self._leave_hold()
        if life.mode in MOVING:
            moving_s = (now_ns - life.started_ns) * 1e-9
            if moving_s > self._operator_s:
                reason = f"no operator command for {moving_s:.0f} s"
                life.post(Event.OPERATOR_TIMEOUT, reason)

    def count_miss(self, tick: Tick) -> None:
        """A tick in which a bus access failed is a miss; too many in a row mean a dead bus."""
        if self._life.mode in BUS_UNUSED:
            return
        if tick.missed:
            tick.flags |= STALE_SENSOR
            self._episode.bus_misses += 1
        if self.misses.count(bool(tick.missed)):
            reason = f"{self.misses.length} ticks without bus: {tick.missed}"
            self._life.post(Event.BUS_DEAD, reason)

    def _count_late(self, tick: Tick) -> None:
        wake = tick.wake
        late = wake.skipped > 0 or wake.lateness_ns > self._late_ns
        if late:
            tick.flags |= (LATE | GAP) if wake.skipped else LATE
            self._episode.late_ticks += 1
        if self.late.count(late):
            self._life.post(Event.LATE, f"{self.late.length} late ticks in a row")

    def _leave_hold(self) -> None:
        if self._swap.active is None:
            self._life.post(Event.GIVE_UP, "no policy is left to drive")
        elif self._life.holds >= HOLDS_TO_GIVE_UP:
            reason = f"{self._life.holds} holds without a completed episode"
            self._life.post(Event.GIVE_UP, reason)
        else:
            self._life.post(Event.TIMEOUT, "the hold is over")
