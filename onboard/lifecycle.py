"""The mode the runtime is in, and what entering one demands of motors, policy and controllers.

The table in :mod:`onboard.modes` decides, this carries out. A step of the tick that finds something
out posts an event; before the step goes on, the motors are as the new mode wants them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from onboard.control_api import StateChange
from onboard.episode import Episode
from onboard.homing import Homing
from onboard.hotswap import HotSwap
from onboard.modes import Event, following
from onboard.pilot import Pilot
from onboard.safety import Run, Safety
from onboard.stopwatch import Stopwatch
from onboard.tick import Tick
from protocol.errors import BusError
from protocol.modes import MOVING, Mode
from protocol.step_record import End

QUESTIONS = 3
"""Without every motor's word that its torque is off, until the bus counts as dead: answers get
lost. They are asked on, one question a tick.
"""
KEPT_CHANGES = 64
REASON_CHARS = 256
ABORTS = frozenset({Event.MOTOR_SILENT, Event.MOTOR_FAULT, Event.BUS_DEAD})
"""They end an episode, and the policy that drove may be the reason."""
LATCHED = frozenset({Mode.FAULT, Mode.ESTOP})
BUS_UNUSED = LATCHED | {Mode.BOOT, Mode.SELFTEST}


class Lifecycle:
    """What the runtime is doing, and why.

    Attributes:
        mode: what it is doing.
        reason: why it is in this mode.
        entered_ns: since when, on the monotonic clock.
        started_ns: when an operator last started it.
        holds: HOLDs entered since an episode was last completed.
        entered: a mode was entered and has no row yet.
        changes: the last changes of mode, oldest first.
        journal: one line per state change; another thread takes them out.
    """

    def __init__(
        self,
        safety: Safety,
        swap: HotSwap,
        pilot: Pilot,
        episode: Episode,
        homing: Homing,
        late: Run,
        stopwatch: Stopwatch,
        tick: Tick,
        clock_ns: Callable[[], int],
    ) -> None:
        """``late`` counts late ticks in a row; a HOLD starts to count anew."""
        self._safety, self._swap, self._pilot = safety, swap, pilot
        self._episode, self._homing, self._late = episode, homing, late
        self._stopwatch, self._tick, self._clock_ns = stopwatch, tick, clock_ns
        self.mode, self.reason = Mode.BOOT, "starting"
        self.entered_ns = self.started_ns = 0
        self.holds = 0
        self.entered = False
        self.changes: deque[StateChange] = deque(maxlen=KEPT_CHANGES)
        self.journal: deque[str] = deque(maxlen=1024)
        self._number = 0
        self._unconfirmed = 0

    def post(self, event: Event, reason: str) -> None:
        """Let the mode table decide, and carry out what the new mode demands."""
        old, new = self.mode, following(self.mode, event)
        if new is not old:
            self._leave(event, reason)
            self._enter(old, new, reason)
        elif event is Event.MOTOR_SILENT and old is Mode.HOLD:
            self._power_on()

    def start(self) -> None:
        """An operator wants the robot to move."""
        self.started_ns, self.holds = self._clock_ns(), 0
        self.post(Event.START, "START by the operator")

    def power_off_again(self) -> None:
        """A motor that did not confirm is told and asked again, tick by tick."""
        if self._unconfirmed:
            self._power_off(anew=False)

    def _leave(self, event: Event, reason: str) -> None:
        if self.mode is not Mode.RUN:
            return
        if event is Event.LATE:
            self._swap.fail_probation(reason)
        elif event in ABORTS:
            self._swap.episode_aborted(self._episode.verdict)
        if self._tick.end is End.RUNNING:
            self._tick.end = End.ABORTED

    def _enter(self, old: Mode, new: Mode, reason: str) -> None:
        self.mode, self.reason = new, reason
        self.entered_ns, self.entered = self._clock_ns(), True
        self._announce(old)
        if new in MOVING:
            self._begin_to_move(old)
        elif new is not Mode.SELFTEST:
            self._power_off(anew=True)
        self._stopwatch.skip()

    def _announce(self, old: Mode) -> None:
        """Tell the journal, and remember the change for whoever asks."""
        new, reason = self.mode.name, self.reason
        self.journal.append(f"{old.name} -> {new}: {reason}")
        self._number += 1
        self.changes.append(
            StateChange(
                number=self._number,
                at_ns=self.entered_ns,
                old=old.name,
                new=new,
                reason=reason[:REASON_CHARS],
            )
        )

    def _begin_to_move(self, old: Mode) -> None:
        if self.mode is Mode.HOLD:
            self.holds += 1
            self._late.reset()
        elif self.mode is Mode.RUN:
            self._episode.begin()
            self._pilot.begin()
        else:
            self._homing.reset()
        if old not in MOVING or self.mode is Mode.HOLD:
            self._power_on()

    def _power_on(self) -> None:
        """Torque on with a fresh motor watchdog, whatever state the motors were in."""
        try:
            self._safety.power_on()
        except BusError as error:
            self.post(Event.BUS_DEAD, str(error))
        else:
            self._tick.bus_ns = self._clock_ns()

    def _power_off(self, anew: bool) -> None:
        """One question; a tick has no time for more."""
        failures = self._safety.power_off_step(anew)
        asked = 1 if anew else self._unconfirmed + 1
        self._unconfirmed = asked if failures else 0
        if failures and asked == QUESTIONS:
            self.journal.extend(failures)
            self.post(Event.BUS_DEAD, "; ".join(failures))
        elif not failures and asked > QUESTIONS:
            self.journal.append("every motor has confirmed that its torque is off")
