"""The control loop: sense, decide, act, record, once per slot of an absolute schedule.

A tick takes effect in a fixed order. What arrives from outside (commands, lateness, bus trouble,
motor faults, time-outs) changes the mode *before* the robot acts; what the tick itself achieves
(settled, episode over) changes it *after* its row is written. Nothing here allocates without bound,
logs, locks or touches a disk; state changes go to ``journal``, which another thread prints.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from onboard.bus import Bus, Check
from onboard.command import Command, OperatorRequest
from onboard.control_api import Clear, Done, Estop, Start, StateChange
from onboard.counters import Counters
from onboard.episode import Episode
from onboard.estop_latch import EstopLatch
from onboard.homing import Homing
from onboard.hotswap import HotSwap
from onboard.modes import Event, following
from onboard.pilot import Pilot
from onboard.recorder import Driver, Recorder, Sample
from onboard.safety import Run, Safety
from onboard.schedule import Schedule, Wake
from onboard.stopwatch import Section, Stopwatch
from onboard.timing import Histogram
from onboard.wire import TimedWire
from protocol import xl330
from protocol.envelope import Limited
from protocol.errors import BusError
from protocol.modes import MOVING, Mode
from protocol.observation import Observer
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, Flag

HOLD_S = 0.5
HOLDS_TO_GIVE_UP = 3
"""HOLDs without a completed episode between them before the robot stops trying."""
CHECK_EVERY_TICKS = 5
POWER_OFF_AGAIN_S = 1.0
KEPT_CHANGES = 64
REASON_CHARS = 256
LATCHED = frozenset({Mode.FAULT, Mode.ESTOP})
_BUS_UNUSED = LATCHED | {Mode.BOOT, Mode.SELFTEST}

FloatArray = NDArray[np.float32]


class Control:
    """The loop of one robot and task.

    Attributes:
        mode: what the runtime is doing.
        reason: why it is in this mode.
        entered_ns: since when, on the monotonic clock.
        commands: requests for the next tick; any thread may append.
        changes: the last changes of mode, oldest first.
        journal: one line per state change; another thread takes them out.
        stopwatch: where the time of the ticks went.
    """

    def __init__(
        self,
        spec: RobotSpec,
        bus: Bus,
        swap: HotSwap,
        pilot: Pilot,
        episode: Episode,
        recorder: Recorder,
        schedule: Schedule,
        clock_ns: Callable[[], int],
        latch: EstopLatch | None = None,
        work_ns: Callable[[], int] = time.thread_time_ns,
        kick: Callable[[int], None] = lambda now_ns: None,
    ) -> None:
        """``latch`` keeps an emergency stop, by default as long as this object lives; ``work_ns``
        counts the loop thread's processor time; ``kick`` follows each tick.
        """
        self.stopwatch = Stopwatch(clock_ns, work_ns)
        self._spec, self._bus = spec, bus
        self._latch = EstopLatch(bytearray(1)) if latch is None else latch
        self._safety = Safety(spec, TimedWire(bus, self.stopwatch), self._latch)
        self._pilot, self._homing, self._observer = pilot, Homing(spec), Observer(spec)
        self._recorder, self._schedule = recorder, schedule
        self._clock_ns, self._kick = clock_ns, kick
        self.swap, self.episode = swap, episode
        self.mode, self.reason = Mode.BOOT, "starting"
        self.commands: deque[Command] = deque()
        self.changes: deque[StateChange] = deque(maxlen=KEPT_CHANGES)
        self.journal: deque[str] = deque(maxlen=1024)
        self.counters = Counters()
        self.period_error = Histogram()
        self.late = Run(spec.safety.late_ticks_to_hold)
        self.misses = Run(spec.bus.misses_to_fault)
        self._silence_ns = int(spec.bus.watchdog_s * 0.9e9)
        self._zeros: FloatArray = np.zeros(len(spec.actuated), dtype=np.float32)
        self._ending = False
        self.entered_ns = self._started_ns = self._bus_ns = self._powered_off_ns = 0
        self._torque_unconfirmed = False
        self._holds = self._number = 0
        self._row_due = False
        # Of the tick in progress:
        self._flags = 0
        self._end = End.RUNNING
        self._missed = ""
        self._sensed = False
        self._sense_ns = 0
        self._requested = self._commanded = self._zeros
        self._previous: FloatArray = np.zeros(len(spec.actuated), dtype=np.float32)
        self._driver, self._sent = Driver.NOBODY, False

    def run(self) -> None:
        """Self-test, then tick until :meth:`end`; the torque is cut however this ends.

        Raises:
            BusError: a motor did not confirm that its torque is off.
        """
        failures: list[str] = []
        self._post(Event.BOOTED, "started")
        try:
            while not self._ending:
                if self.mode is Mode.SELFTEST:
                    self._self_test()
                self.tick(self._schedule.wait())
                self._kick(self._clock_ns())
        finally:
            failures = self._safety.power_off()
            self.journal.extend(failures)
            self._bus.close()
        if failures:
            raise BusError("; ".join(failures))

    def end(self) -> None:
        """Let :meth:`run` return after the tick in progress; any thread or signal handler may."""
        self._ending = True

    def cut(self) -> None:
        """Torque off now and latched, whatever the loop is doing; any thread may. See ADR 6.

        The mode follows when the loop obeys the :class:`Estop` that has to come after it.
        """
        self._safety.cut()

    def tick(self, wake: Wake) -> None:
        """One slot of the schedule."""
        self._begin(wake)
        while self.commands:
            command = self.commands.popleft()
            if command.take():
                command.reply = self._answer(command)
        self._sense(wake.tick)
        self._watch(wake)
        self._flip(wake.tick)
        version = self.swap.active_version
        if self.mode in MOVING:
            self._drive()
        elif self._torque_unconfirmed:
            self._power_off_again(wake.started_ns)
        self._count_miss()
        self._record(wake, version)
        self._progress()

    def _self_test(self) -> None:
        """Check the bus from scratch; takes longer than a tick, so the schedule starts anew."""
        try:
            self._bus.connect()
        except BusError as error:
            self._post(Event.FAILED, str(error))
        else:
            self.misses.reset()
            self._observer.reset()
            self._post(Event.PASSED, "self-test passed")
        self._schedule.rebase()

    # What comes from outside.

    def _begin(self, wake: Wake) -> None:
        self.stopwatch.start(wake.started_ns)
        self._flags, self._end, self._missed = 0, End.RUNNING, ""
        self._requested = self._commanded = self._zeros
        self._driver, self._sent = Driver.NOBODY, False
        self.counters.tick(wake)

    def _answer(self, command: Command) -> Done:
        if command.late(self._clock_ns()):
            return Done(ok=False, detail="refused: it reached the control loop too late")
        return self._obey(command.request)

    def _obey(self, request: OperatorRequest) -> Done:
        if isinstance(request, Start):
            return self._start()
        if isinstance(request, Clear):
            if self.mode not in LATCHED:
                return Done(ok=False, detail=f"nothing to clear in {self.mode.name}")
            self._safety.release()
            self._post(Event.CLEAR, "cleared by the operator")
            return Done(ok=True, detail="a self-test follows")
        if isinstance(request, Estop):
            self._safety.cut()  # again: a CLEAR may have come between the cut and this
            self._post(Event.ESTOP, f"ESTOP by {request.source}")
        else:
            self._post(Event.STOP, "STOP by the operator")
        return Done(ok=True, detail=self.mode.name)

    def _start(self) -> Done:
        if self.mode is not Mode.IDLE:
            return Done(ok=False, detail=f"cannot start in {self.mode.name}: {self.reason}")
        if self.swap.active is None:
            return Done(ok=False, detail="cannot start: no policy is active yet")
        self._started_ns, self._holds = self._clock_ns(), 0
        self._post(Event.START, "START by the operator")
        moving = self.mode in MOVING
        return Done(ok=moving, detail=self.mode.name if moving else self.reason)

    def _sense(self, tick: int) -> None:
        """Read every joint; without an answer the last reading stays and the row says so."""
        self._sense_ns, self._sensed = self._clock_ns(), False
        if self.mode in _BUS_UNUSED:
            return
        silent = self.mode in MOVING and self._sense_ns - self._bus_ns > self._silence_ns
        checks = self._read(tick, silent)
        if self._missed:
            return
        self._sensed, self._bus_ns = True, self._sense_ns
        self._observer.observe(self._bus.position_rad, self._sense_ns * 1e-9)
        self.stopwatch.lap(Section.OBSERVE)
        for check in checks:
            verdict = self._safety.judge(check)
            if verdict is not None:
                self._post(*verdict)

    def _read(self, tick: int, silent: bool) -> Sequence[Check]:
        """Joints and slow registers; what fails is missed."""
        self.stopwatch.skip()
        try:
            self._bus.read()
            return self._checks(tick, silent)
        except BusError as error:
            self._missed = str(error)
            return ()
        finally:
            self.stopwatch.lap(Section.READ)

    def _checks(self, tick: int, silent: bool) -> Sequence[Check]:
        """Slow registers to read in this tick: the suspicious ones, and one in turn."""
        checks: list[Check] = []
        if self._bus.alert:
            checks += self._bus.check_nodes(xl330.HARDWARE_ERROR)
        if silent:
            checks += self._bus.check_motors(xl330.BUS_WATCHDOG)
        if tick % CHECK_EVERY_TICKS == 0:
            checks.append(self._bus.check_next())
        return checks

    def _watch(self, wake: Wake) -> None:
        """Lateness and time-outs."""
        late = wake.skipped > 0 or wake.lateness_ns > self._schedule.period_ns // 2
        self._flags |= (Flag.LATE if late else 0) | (Flag.GAP if wake.skipped else 0)
        self.episode.late_ticks += late
        if self.late.count(late):
            self._post(Event.LATE, f"{self.late.length} late ticks in a row")
        in_mode_s = (wake.started_ns - self.entered_ns) * 1e-9
        if self.mode in (Mode.HOMING, Mode.RECOVER) and in_mode_s > self._spec.homing.timeout_s:
            self._post(Event.TIMEOUT, f"not settled after {in_mode_s:.0f} s of {self.mode.name}")
        elif self.mode is Mode.HOLD and in_mode_s > HOLD_S:
            self._leave_hold()
        moving_s = (wake.started_ns - self._started_ns) * 1e-9
        if self.mode in MOVING and moving_s > self._spec.safety.operator_timeout_s:
            self._post(Event.OPERATOR_TIMEOUT, f"no operator command for {moving_s:.0f} s")

    def _leave_hold(self) -> None:
        if self.swap.active is None:
            self._post(Event.GIVE_UP, "no policy is left to drive")
        elif self._holds >= HOLDS_TO_GIVE_UP:
            self._post(Event.GIVE_UP, f"{self._holds} holds without a completed episode")
        else:
            self._post(Event.TIMEOUT, "the hold is over")

    def _flip(self, tick: int) -> None:
        """The tick boundary at which a new policy may take over."""
        if self.swap.flip():
            self._flags |= Flag.SWAPPED
            self._pilot.bad.reset()
            self.counters.swap(tick)
            self.journal.append(f"policy {self.swap.active_version} drives")

    # Acting.

    def _drive(self) -> None:
        """Send one command through the envelope, or zero where the joints are not known."""
        self._previous[:] = self._safety.applied
        self.stopwatch.skip()
        try:
            limited = self._act() if self._sensed else self._coast()
        except BusError as error:
            self._missed = str(error)
            return
        self._bus_ns, self._sent = self._clock_ns(), True
        self._flags |= limited
        self._observer.applied(self._safety.applied)
        if self.mode is Mode.RUN:
            self.counters.interventions += bool(limited)
            self.episode.interventions += bool(limited)
            self.episode.act(self._observer.vector, self._safety.applied)

    def _act(self) -> Limited:
        self._commanded = self._choose()
        self.stopwatch.lap(Section.INFER)
        return self._safety.command(
            self._commanded, self._bus.position_rad, self._observer.velocity
        )

    def _coast(self) -> Limited:
        self._driver = Driver.COAST
        return self._safety.coast()

    def _choose(self) -> FloatArray:
        """Unit actions of this tick's mode; a policy that fails for good ends in HOLD."""
        if self.mode is Mode.RUN:
            self._end = self.episode.observe(self._observer.vector)
            self.stopwatch.lap(Section.OBSERVE)
        self._driver = self._responsible()
        if self._driver is Driver.ZERO:
            return self._zeros
        if self._driver is Driver.POLICY:
            return self._ask_policy()
        self._requested = self._homing.update(self._bus.position_rad, self._observer.velocity)
        return self._requested

    def _responsible(self) -> Driver:
        """Who decides in this tick; nobody once an episode is over."""
        if self.mode is Mode.RUN and self._end is End.RUNNING:
            return Driver.POLICY
        return Driver.HOMING if self.mode in (Mode.HOMING, Mode.RECOVER) else Driver.ZERO

    def _ask_policy(self) -> FloatArray:
        action = self._pilot.ask(self._observer.vector)
        self._flags |= self._pilot.flags
        self._requested = self._pilot.requested
        if action is None:
            self._post(Event.BAD_POLICY, "the policy is unusable and no previous one is left")
            return self._zeros
        return action

    def _count_miss(self) -> None:
        """A tick in which a bus access failed is a miss; too many in a row mean a dead bus."""
        if self.mode in _BUS_UNUSED:
            return
        if self._missed:
            self._flags |= Flag.STALE_SENSOR
        if self.misses.count(bool(self._missed)):
            self._post(Event.BUS_DEAD, f"{self.misses.length} ticks without bus: {self._missed}")

    def _record(self, wake: Wake, version: int) -> None:
        """Row and histograms of this tick; modes without power stream one only when entered."""
        now_ns = self.stopwatch.stop()
        self.period_error.add(wake.lateness_ns * 1e-3)
        streamed = self.mode in MOVING or self._row_due
        self._row_due = False
        self._recorder.write(self._sample(wake, version, now_ns), streamed)

    def _sample(self, wake: Wake, version: int, now_ns: int) -> Sample:
        watch, bus, flown = self.stopwatch, self._bus, self._driver is Driver.POLICY
        return Sample(
            tick=wake.tick,
            slot_ns=wake.slot_ns,
            started_ns=wake.started_ns,
            sense_ns=self._sense_ns,
            act_ns=now_ns,
            episode=self.episode.number,
            step=self.episode.step,
            policy_version=version,
            flags=self._flags,
            period_error_us=wake.lateness_ns * 1e-3,
            work_us=watch.work_us,
            span_us=watch.span_us,
            mode=self.mode,
            end=self._end,
            driver=self._driver,
            sensed=self._sensed,
            sent=self._sent,
            latched=self._latch.is_set,
            asked=flown and self._pilot.asked,
            draw=self._pilot.draw if flown else 0,
            position_count=bus.position_count,
            velocity_count=bus.velocity_count,
            current_count=bus.current_count,
            obs=self._observer.vector,
            requested=self._requested,
            commanded=self._commanded,
            previous=self._previous,
            applied=self._safety.applied,
            section_span_us=watch.section_span_us,
            section_work_us=watch.section_work_us,
        )

    # What the tick achieved.

    def _progress(self) -> None:
        if self.mode is Mode.RUN and self._end is not End.RUNNING:
            self._holds = 0
            self.swap.episode_completed(self.episode.verdict)
            self._post(Event.EPISODE_OVER, f"episode {self.episode.number} is over")
        elif self.mode in (Mode.HOMING, Mode.RECOVER) and self._homing.settled:
            if self.swap.active is None:
                self._post(Event.GIVE_UP, "no policy is left to drive")
            else:
                self._post(Event.SETTLED, "settled at home")

    # Modes.

    def _post(self, event: Event, reason: str) -> None:
        """Let the mode table decide, and carry out what the new mode demands."""
        old, new = self.mode, following(self.mode, event)
        if new is old:
            if event is Event.MOTOR_SILENT and old is Mode.HOLD:
                self._power_on()
            return
        if event is Event.LATE and old is Mode.RUN:
            self.swap.fail_probation(reason)
        if old is Mode.RUN and self._end is End.RUNNING:
            self._end = End.ABORTED
        self.mode, self.reason = new, reason
        self.entered_ns, self._row_due = self._clock_ns(), True
        self._announce(old)
        if new in MOVING:
            self._enter_moving(old)
        elif new is not Mode.SELFTEST:
            self._power_off()

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

    def _enter_moving(self, old: Mode) -> None:
        if self.mode is Mode.HOLD:
            self._holds += 1
            self.late.reset()
        elif self.mode is Mode.RUN:
            self.episode.begin()
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
            self._post(Event.BUS_DEAD, str(error))
        else:
            self._bus_ns = self._clock_ns()

    def _power_off(self) -> None:
        failures = self._safety.power_off()
        self._torque_unconfirmed, self._powered_off_ns = bool(failures), self._clock_ns()
        if failures:
            self.journal.extend(failures)
            self._post(Event.BUS_DEAD, "; ".join(failures))

    def _power_off_again(self, now_ns: int) -> None:
        """A motor that did not confirm is asked again and again."""
        if now_ns - self._powered_off_ns > POWER_OFF_AGAIN_S * 1e9:
            self._power_off()
