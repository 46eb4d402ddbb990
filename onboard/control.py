"""The control loop: sense, decide, act, record, once per slot of an absolute schedule.

A tick takes effect in a fixed order. What arrives from outside (commands, lateness, bus trouble,
motor faults, time-outs) changes the mode *before* the robot acts; what the tick itself achieves
(settled, episode over) changes it *after* its row is written. Nothing here allocates without bound,
logs, locks or touches a disk; state changes go to ``journal``, which another thread prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from onboard.bus import Bus
from onboard.counters import Counters
from onboard.episode import Episode
from onboard.estop_latch import EstopLatch
from onboard.helm import Helm
from onboard.homing import homing_for
from onboard.hotswap import HotSwap
from onboard.lifecycle import Lifecycle
from onboard.modes import Event
from onboard.orders import Orders
from onboard.patience import Patience
from onboard.pilot import Pilot
from onboard.recorder import Recorder
from onboard.safety import Run, Safety
from onboard.schedule import Schedule, Wake
from onboard.senses import Senses
from onboard.stopwatch import Stopwatch
from onboard.tick import SOFT, SWAPPED, Tick
from onboard.timing import Histogram
from onboard.wire import TimedWire
from protocol.errors import BusError
from protocol.modes import MOVING, Mode
from protocol.observation import Observer
from protocol.robot_spec import RobotSpec
from protocol.step_record import End


class Control:
    """The loop of one robot and task.

    Attributes:
        life: the mode, and why.
        orders: requests for the next tick; any thread may append to its queue.
        swap: the policies.
        episode: in progress, or the last one.
        helm: what is sent, and how often the envelope changed it.
        patience: late ticks and misses so far.
        counters: ticks and lost slots so far.
        stopwatch: where the time of the ticks went.
        period_error: how late they began.
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
        self._bus, self._pilot, self._recorder = bus, pilot, recorder
        self._schedule, self._clock_ns, self._kick = schedule, clock_ns, kick
        self.swap, self.episode = swap, episode
        self.counters, self.period_error = Counters(), Histogram()
        self.stopwatch = watch = Stopwatch(clock_ns, work_ns)
        self._latch = EstopLatch(bytearray(1)) if latch is None else latch
        self._safety = safety = Safety(spec, TimedWire(bus, watch), self._latch)
        self._observer, self._homing = observer, homing = Observer(spec), homing_for(spec)
        self._tick = tick = Tick(len(spec.actuated))
        late = Run(spec.safety.late_ticks_to_hold)
        self.life = life = Lifecycle(
            safety, swap, pilot, episode, homing, late, watch, tick, clock_ns
        )
        self.orders = Orders(life, safety, swap, clock_ns)
        self._senses = Senses(spec, bus, observer, safety, watch, clock_ns)
        self.patience = Patience(spec, life, swap, episode, late)
        self.helm = Helm(bus, observer, safety, life, pilot, homing, episode, watch, clock_ns)
        self._attach()
        self._ending = False

    def run(self) -> None:
        """Self-test, then tick until :meth:`end`; the torque is cut however this ends.

        Raises:
            BusError: a motor did not confirm that its torque is off.
        """
        failures: list[str] = []
        self.life.post(Event.BOOTED, "started")
        try:
            while not self._ending:
                if self.life.mode is Mode.SELFTEST:
                    self.self_test()
                self.tick(self._schedule.wait())
                self._kick(self._clock_ns())
        finally:
            failures = self._safety.power_off()
            self.life.journal.extend(failures)
            self._bus.close()
        if failures:
            raise BusError("; ".join(failures))

    def end(self) -> None:
        """Let :meth:`run` return after the tick in progress; any thread or signal handler may."""
        self._ending = True

    def admit_soft(self) -> None:
        """Let every record from now on say that the loop has no real-time scheduling."""
        self._tick.standing |= SOFT

    def cut(self) -> None:
        """Torque off now and latched, whatever the loop is doing; any thread may. See ADR 6.

        The mode follows when the loop obeys the :class:`Estop` that has to come after it.
        """
        self._safety.cut()

    def self_test(self) -> None:
        """Check the bus from scratch; takes longer than a tick, so the schedule starts anew."""
        try:
            self._bus.connect()
        except BusError as error:
            self.life.post(Event.FAILED, str(error))
        else:
            self.patience.misses.reset()
            self._observer.reset()
            self.life.post(Event.PASSED, "self-test passed")
        self._schedule.rebase()

    def tick(self, wake: Wake) -> None:
        """One slot of the schedule."""
        tick, life = self._tick, self.life
        self._begin(wake)
        self.orders.obey()
        for verdict in self._senses.sense(tick, life.mode):
            life.post(*verdict)
        self.patience.watch(tick)
        self._flip()
        if life.mode in MOVING:
            self.helm.steer(tick)
        else:
            life.power_off_again()
        self.patience.count_miss(tick)
        self._record()
        self._progress()

    def _attach(self) -> None:
        """What others refill at every tick."""
        tick, bus, watch = self._tick, self._bus, self.stopwatch
        tick.position_count, tick.velocity_count = bus.position_count, bus.velocity_count
        tick.current_count = bus.current_count
        tick.imu_count = bus.imu_count
        tick.obs, tick.applied = self._observer.vector, self._safety.applied
        self._observer.goal_rad = self._safety.goal_rad
        self._observer.command_m_s = self.episode.command_m_s
        tick.section_span_us, tick.section_work_us = watch.section_span_us, watch.section_work_us

    def _begin(self, wake: Wake) -> None:
        self.stopwatch.start(wake.started_ns)
        self._tick.begin(wake)
        self.counters.tick(wake)

    def _flip(self) -> None:
        """The tick boundary at which a new policy may take over."""
        tick, swap = self._tick, self.swap
        if swap.flip():
            tick.flags |= SWAPPED
            self._pilot.bad.reset()
            self.counters.swap(tick.wake.tick)
            self.life.journal.append(f"policy {swap.active_version} drives")
            self.stopwatch.skip()
        tick.policy_version = swap.active_version

    def _record(self) -> None:
        """Row and histograms of this tick; modes without power stream one only when entered."""
        tick, life, watch, episode = self._tick, self.life, self.stopwatch, self.episode
        tick.act_ns = watch.stop()
        tick.work_us, tick.span_us = watch.work_us, watch.span_us
        tick.period_error_us = tick.wake.lateness_ns * 1e-3
        self.period_error.add(tick.period_error_us)
        tick.mode, tick.latched = life.mode, self._latch.is_set
        tick.episode, tick.step = episode.number, episode.step
        self._recorder.write(tick, streamed=life.mode in MOVING or life.entered)
        life.entered = False

    def _progress(self) -> None:
        """What the tick achieved."""
        tick, life = self._tick, self.life
        if life.mode is Mode.RUN and tick.end is not End.RUNNING:
            life.holds = 0
            self.swap.episode_completed(self.episode.verdict)
            life.post(Event.EPISODE_OVER, f"episode {self.episode.number} is over")
        elif life.mode in (Mode.HOMING, Mode.RECOVER) and self._homing.settled:
            if self.swap.active is None:
                life.post(Event.GIVE_UP, "no policy is left to drive")
            elif life.mode is Mode.RECOVER and self._homing.lay:
                life.post(Event.GIVE_UP, "it lay and was righted; START when no hand is near")
            else:
                life.post(Event.SETTLED, "settled at home")
