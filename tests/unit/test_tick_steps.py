"""The steps of a tick one by one: bounds met exactly, and what is said to operators and journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from made_loop import Bench

from onboard.bus import Fact
from onboard.command import Command
from onboard.control_api import Clear, Done, Estop, Start, Stop
from onboard.lifecycle import KEPT_CHANGES, QUESTIONS, Lifecycle
from onboard.modes import Event
from onboard.patience import HOLD_S, HOLDS_TO_GIVE_UP
from onboard.schedule import Wake
from onboard.senses import CHECK_EVERY_TICKS, SILENCE_SHARE
from onboard.step_judge import StepJudge
from onboard.stopwatch import Section
from onboard.tick import Driver, Tick
from protocol.envelope import Limited
from protocol.errors import BusError
from protocol.modes import Mode
from protocol.outcome import Outcome
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, Flag

Make = Callable[..., Path]
NS = 10**9


@pytest.fixture
def bench(furuta: RobotSpec, rig_port: Any, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(furuta, rig_port, tmp_path)
    bench.boot()
    yield bench
    bench.close()


@pytest.fixture
def running(bench: Bench, make_bundle: Make) -> Bench:
    bench.load(make_bundle(1), 1)
    assert bench.obey(Start()).ok
    bench.until(Mode.RUN)
    bench.run(2)
    return bench


@pytest.fixture
def life(bench: Bench) -> Lifecycle:
    return bench.control.life


def begun(bench: Bench, lateness_ns: int = 0, skipped: int = 0, number: int = 1) -> Tick:
    """A tick that has just woken."""
    tick = bench.control._tick
    now_ns = bench.clock.now_ns()
    tick.begin(Wake(number, now_ns - lateness_ns, now_ns, skipped))
    return tick


# Orders.


def test_every_order_is_answered_in_words(bench: Bench, make_bundle: Make, life: Lifecycle) -> None:
    bench.load(make_bundle(1), 1)
    assert bench.obey(Clear()) == Done(ok=False, detail="nothing to clear in IDLE")
    before_ns = bench.clock.now_ns()
    assert bench.obey(Start()) == Done(ok=True, detail="HOMING")
    assert (life.reason, life.started_ns > before_ns) == ("START by the operator", True)
    bench.until(Mode.RUN)
    again = "cannot start in RUN: settled at home"
    assert bench.obey(Start()) == Done(ok=False, detail=again)
    assert bench.obey(Stop()) == Done(ok=True, detail="IDLE")
    assert life.reason == "STOP by the operator"
    assert bench.obey(Estop(source="a pedal")) == Done(ok=True, detail="ESTOP")
    assert life.reason == "ESTOP by a pedal"
    assert bench.obey(Clear()) == Done(ok=True, detail="a self-test follows")
    assert [change.reason for change in life.changes][-2:] == [
        "cleared by the operator",
        "self-test passed",
    ]


def test_an_order_that_comes_late_is_told_so(bench: Bench) -> None:
    late = Start(deadline_ns=bench.clock.now_ns() - 1)
    detail = "refused: it reached the control loop too late"
    assert bench.obey(late) == Done(ok=False, detail=detail)


def test_a_start_on_a_bus_that_just_died_is_told_why(bench: Bench, make_bundle: Make) -> None:
    bench.load(make_bundle(1), 1)
    bench.port.dead = True
    assert bench.obey(Start()) == Done(ok=False, detail=bench.control.life.reason)


def test_orders_are_obeyed_in_their_order_and_all_of_them(running: Bench) -> None:
    orders = [Command(Stop()), Command(Estop()), Command(Clear())]
    running.control.orders.queue.extend(orders)
    running.run(1)
    assert [order.reply and order.reply.detail for order in orders] == [
        "IDLE",
        "ESTOP",
        "a self-test follows",
    ]


# Lifecycle.


def test_it_begins_in_boot(
    furuta: RobotSpec, rig_port: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(furuta, rig_port, tmp_path)
    life = bench.control.life
    assert (life.mode, life.reason, life.entered) == (Mode.BOOT, "starting", False)
    assert (life.entered_ns, life.started_ns, life.holds) == (0, 0, 0)
    assert [*life.changes, *life.journal] == []
    answers = Answers(life, monkeypatch)
    life.power_off_again()
    assert answers.anew == []  # nobody left a motor unconfirmed
    bench.close()


def test_a_tick_begins_with_nothing_known_and_nothing_done() -> None:
    tick = Tick(2)
    assert tick.wake == Wake(0, 0, 0, 0)
    assert (tick.mode, tick.latched, tick.standing) == (Mode.BOOT, False, 0)
    assert (tick.sense_ns, tick.bus_ns, tick.act_ns) == (0, 0, 0)
    assert (tick.policy_version, tick.episode, tick.step) == (0, 0, 0)
    assert (tick.period_error_us, tick.work_us, tick.span_us) == (0.0, 0.0, 0.0)
    assert (tick.end, tick.flags, tick.draw, tick.missed) == (End.RUNNING, 0, 0, "")
    assert (tick.driver, tick.sensed, tick.sent, tick.asked) == (Driver.NOBODY, *[False] * 3)
    assert tick.requested is tick.commanded is tick.zeros
    for action in (tick.zeros, tick.previous):
        assert (action.tolist(), action.dtype) == ([0.0, 0.0], np.float32)


def test_a_change_is_kept_whole_but_for_a_long_reason(bench: Bench, life: Lifecycle) -> None:
    number = life.changes[-1].number
    assert [change.number for change in life.changes] == [*range(1, number + 1)]
    now_ns = bench.clock.now_ns()
    life.post(Event.ESTOP, "x" * 300)
    change = life.changes[-1]
    assert (change.number, change.old, change.new) == (number + 1, "IDLE", "ESTOP")
    assert change.reason == "x" * 256
    assert change.at_ns == life.entered_ns == now_ns
    assert life.journal[-1] == "IDLE -> ESTOP: " + "x" * 300
    assert life.entered
    assert (life.changes.maxlen, life.journal.maxlen) == (KEPT_CHANGES, 1024)


def test_an_event_that_changes_nothing_leaves_no_trace(bench: Bench, life: Lifecycle) -> None:
    known = [*life.changes], [*life.journal], life.entered_ns
    life.post(Event.SETTLED, "nobody asked")
    assert ([*life.changes], [*life.journal], life.entered_ns) == known


class Answers:
    """What the motors have not confirmed, question by question; then nothing is left."""

    def __init__(self, life: Lifecycle, monkeypatch: pytest.MonkeyPatch, *left: list[str]) -> None:
        self._left, self.anew = [*left], list[bool]()
        monkeypatch.setattr(life._safety, "power_off_step", self.step)

    def step(self, anew: bool) -> list[str]:
        self.anew.append(anew)
        return self._left.pop(0) if self._left else []


def test_a_motor_that_does_not_confirm_is_asked_again_until_it_does(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, one = ["arm: no answer", "leg: no answer"], ["arm: no answer"]
    answers = Answers(life, monkeypatch, both, both, one, one)
    life.post(Event.ESTOP, "a test")
    announced = [*life.journal]
    life.power_off_again()
    assert [*life.journal] == announced, "answers get lost"
    life.power_off_again()
    assert [*life.journal] == [*announced, "arm: no answer"]
    life.power_off_again()
    assert life.journal[-1] == "arm: no answer"
    life.power_off_again()
    assert life.journal[-1] == "every motor has confirmed that its torque is off"
    life.power_off_again()  # confirmed: nothing more to ask
    assert answers.anew == [True, False, False, False, False]
    life.post(Event.CLEAR, "a test")
    life.post(Event.PASSED, "a test")
    assert answers.anew[5:] == [True], "what was confirmed before does not count"


def test_an_answer_that_was_lost_is_no_dead_bus(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = running.control.life
    answers = Answers(life, monkeypatch, *[["arm: no answer"]] * (QUESTIONS - 1))
    life.post(Event.STOP, "enough")
    journal = [*life.journal]
    running.run(5)
    assert (life.mode, [*life.journal]) == (Mode.IDLE, journal)
    assert answers.anew == [True, False, False]


def test_a_new_mode_counts_its_own_questions(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = running.control.life
    answers = Answers(life, monkeypatch, *[["arm: no answer"]] * QUESTIONS)
    life.post(Event.STOP, "enough")
    life.power_off_again()
    life.post(Event.ESTOP, "a test")
    assert answers.anew == [True, False, True]
    assert life.journal[-1] == "IDLE -> ESTOP: a test"


def test_motors_that_keep_their_torque_are_a_fault_with_every_name(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = running.control.life
    answers = Answers(life, monkeypatch, *[["arm: on", "leg: on"]] * 9)
    life.post(Event.STOP, "enough")
    running.run(1)
    assert life.mode is Mode.IDLE
    running.run(1)
    assert (life.mode, life.reason) == (Mode.FAULT, "arm: on; leg: on")
    assert answers.anew == [True, False, False, True]


def test_a_bus_that_refuses_power_is_a_fault_with_its_words(
    bench: Bench, life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise BusError("no torque today")

    monkeypatch.setattr(life._safety, "power_on", refuse)
    bench.control._tick.bus_ns = 5
    life.post(Event.START, "a test")
    assert (life.mode, life.reason) == (Mode.FAULT, "no torque today")
    assert bench.control._tick.bus_ns == 5


def test_power_comes_on_once_on_the_way_and_anew_in_a_hold(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, powered = running.control.life, []
    monkeypatch.setattr(life._safety, "power_on", lambda: powered.append(life.mode))
    life.post(Event.EPISODE_OVER, "")
    life.post(Event.SETTLED, "")
    assert powered == []
    life.post(Event.LATE, "")
    life.post(Event.MOTOR_SILENT, "")  # of a motor that fell silent in the hold
    life.post(Event.TIMEOUT, "")
    assert powered == [Mode.HOLD, Mode.HOLD]
    assert running.control._tick.bus_ns == running.clock.now_ns()


def test_a_hold_counts_itself_and_forgets_the_late_ticks_before_it(running: Bench) -> None:
    life, late = running.control.life, running.control.patience.late
    late.count(True)
    life.post(Event.LATE, "")
    assert (life.holds, late.length) == (1, 0)
    life.post(Event.TIMEOUT, "")
    life.post(Event.LATE, "")
    assert life.holds == 2
    life.post(Event.STOP, "")
    life.start()
    assert life.holds == 0


def test_only_a_running_episode_is_aborted(running: Bench) -> None:
    life, tick = running.control.life, running.control._tick
    tick.end = End.TRUNCATED
    life.post(Event.EPISODE_OVER, "")
    assert tick.end is End.TRUNCATED
    tick.end = End.RUNNING
    life.post(Event.STOP, "")
    assert tick.end is End.RUNNING  # it was on its way home
    life.start()
    life.post(Event.SETTLED, "")
    life.post(Event.STOP, "")
    assert tick.end is End.ABORTED


def test_homing_begins_anew_but_not_in_the_episode(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, resets = running.control.life, []
    monkeypatch.setattr(life._homing, "reset", lambda: resets.append(life.mode))
    life.post(Event.EPISODE_OVER, "")
    life.post(Event.SETTLED, "")
    life.post(Event.LATE, "")
    assert resets == [Mode.RECOVER]


# Patience.


@pytest.mark.parametrize(
    ("lateness_ns", "skipped", "flags"),
    [
        (0, 0, 0),
        (10_000_000, 0, 0),
        (10_000_001, 0, Flag.LATE),
        (0, 1, Flag.LATE | Flag.GAP),
    ],
)
def test_a_tick_is_late_beyond_half_a_period_or_after_lost_slots(
    bench: Bench, lateness_ns: int, skipped: int, flags: int
) -> None:
    bench.control._tick.standing = Flag.SOFT  # and what it had before stays
    tick = begun(bench, lateness_ns, skipped)
    bench.control.patience.watch(tick)
    assert tick.flags == flags | Flag.SOFT
    assert bench.control.episode.late_ticks == (flags != 0)
    assert bench.control.patience.late.total == (flags != 0)


def test_a_run_of_late_ticks_says_how_long_it_was(running: Bench, furuta: RobotSpec) -> None:
    limit = furuta.safety.late_ticks_to_hold
    for count in range(1, limit + 1):
        assert running.mode is Mode.RUN
        assert running.control.episode.late_ticks == count - 1
        running.control.patience.watch(begun(running, skipped=1))
    assert running.control.life.reason == f"{limit} late ticks in a row"


@pytest.mark.parametrize("mode", [Mode.HOMING, Mode.RECOVER])
def test_settling_may_take_its_time_and_no_longer(
    running: Bench, furuta: RobotSpec, mode: Mode
) -> None:
    life, patience = running.control.life, running.control.patience
    life.mode, life.entered_ns = mode, running.clock.now_ns()
    life.started_ns = running.clock.now_ns()
    running.clock.ns += round(furuta.homing.timeout_s * NS)
    patience.watch(begun(running))
    assert life.mode is mode
    running.clock.ns += 1000
    patience.watch(begun(running))
    assert (life.mode, life.reason) == (Mode.FAULT, f"not settled after 20 s of {mode.name}")


@pytest.mark.parametrize(
    ("holds", "mode", "reason"),
    [
        (1, Mode.RECOVER, "the hold is over"),
        (HOLDS_TO_GIVE_UP - 1, Mode.RECOVER, "the hold is over"),
        (HOLDS_TO_GIVE_UP, Mode.IDLE, "3 holds without a completed episode"),
    ],
)
def test_a_hold_ends_after_its_time(running: Bench, holds: int, mode: Mode, reason: str) -> None:
    life, patience = running.control.life, running.control.patience
    life.post(Event.LATE, "a test")
    life.holds = holds
    running.clock.ns = life.entered_ns + round(HOLD_S * NS)
    patience.watch(begun(running))
    assert life.mode is Mode.HOLD
    running.clock.ns += 1000
    patience.watch(begun(running))
    assert (life.mode, life.reason) == (mode, reason)


def test_a_hold_without_a_policy_gives_up(running: Bench) -> None:
    life = running.control.life
    life.post(Event.LATE, "a test")
    running.swap.active = None
    running.clock.ns += NS
    running.control.patience.watch(begun(running))
    assert (life.mode, life.reason) == (Mode.IDLE, "no policy is left to drive")


def test_an_operator_must_be_heard_of_in_time(running: Bench, furuta: RobotSpec) -> None:
    life, patience = running.control.life, running.control.patience
    life.started_ns = running.clock.ns - round(furuta.safety.operator_timeout_s * NS)
    patience.watch(begun(running))
    assert life.mode is Mode.RUN
    life.started_ns -= 1000
    patience.watch(begun(running))
    assert (life.mode, life.reason) == (Mode.IDLE, "no operator command for 3600 s")


def test_nobody_is_waited_for_at_rest(bench: Bench, life: Lifecycle) -> None:
    bench.clock.ns += 10**15
    bench.control.patience.watch(begun(bench))
    assert life.mode is Mode.IDLE


def test_misses_in_a_row_are_a_dead_bus(running: Bench, furuta: RobotSpec) -> None:
    patience, life = running.control.patience, running.control.life
    running.control._tick.standing = Flag.SOFT
    for missed in ("", *["no answer"] * furuta.bus.misses_to_fault):
        assert life.mode is Mode.RUN
        tick = begun(running)
        tick.missed = missed
        patience.count_miss(tick)
        assert tick.flags == (Flag.SOFT | Flag.STALE_SENSOR if missed else Flag.SOFT)
    assert life.reason == f"{furuta.bus.misses_to_fault} ticks without bus: no answer"


def test_a_bus_that_is_not_used_cannot_be_missed(running: Bench, furuta: RobotSpec) -> None:
    running.obey(Estop())
    tick = begun(running)
    tick.missed = "no answer"
    for _ in range(2 * furuta.bus.misses_to_fault):
        running.control.patience.count_miss(tick)
    assert (running.mode, tick.flags) == (Mode.ESTOP, 0)
    assert running.control.patience.misses.total == 0


# Senses.


class Asked:
    """What was asked of the bus beside the joints."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.facts: list[Any] = []
        bus = bench.control._bus
        bus.alert = False
        next_check = bus.check_next

        def check_all(fact: Fact) -> list[Any]:
            self.facts.append(fact)
            return []

        def check_next() -> Any:
            self.facts.append("next")
            return next_check()

        monkeypatch.setattr(bus, "check_all", check_all)
        monkeypatch.setattr(bus, "check_next", check_next)


@pytest.mark.parametrize(
    ("mode", "beyond_ns", "asked"),
    [
        (Mode.RUN, 0, []),
        (Mode.RUN, 1, [Fact.WATCHDOG]),
        (Mode.IDLE, 1, []),
    ],
)
def test_after_a_silence_the_motors_are_asked_whether_they_stopped(
    running: Bench,
    furuta: RobotSpec,
    monkeypatch: pytest.MonkeyPatch,
    mode: Mode,
    beyond_ns: int,
    asked: list[Fact],
) -> None:
    checks, tick = Asked(running, monkeypatch), begun(running)
    tick.bus_ns = running.clock.now_ns()
    running.clock.ns += int(SILENCE_SHARE * furuta.bus.watchdog_s * NS) + beyond_ns
    running.control._senses.sense(tick, mode)
    assert checks.facts == asked


def test_one_slow_register_in_turn_is_read_every_few_ticks(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = Asked(running, monkeypatch)
    for number in range(1, 2 * CHECK_EVERY_TICKS + 1):
        tick = begun(running, number=number)
        tick.bus_ns = running.clock.now_ns()
        running.control._senses.sense(tick, Mode.RUN)
        assert len(checks.facts) == number // CHECK_EVERY_TICKS


def test_an_alert_is_asked_about_in_every_tick(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks, bus = Asked(running, monkeypatch), running.control._bus
    read = bus.read

    def alerting() -> None:
        read()
        bus.alert = True

    monkeypatch.setattr(bus, "read", alerting)
    tick = begun(running)
    tick.bus_ns = running.clock.now_ns()
    running.control._senses.sense(tick, Mode.RUN)
    assert checks.facts == [Fact.FAULT]


def test_registers_that_are_due_together_are_all_read(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = running.control._bus
    monkeypatch.setattr(bus, "alert", True)
    monkeypatch.setattr(bus, "check_all", lambda fact: [fact])
    monkeypatch.setattr(bus, "check_next", lambda: ["next"])
    due: list[Any] = [*running.control._senses._checks(CHECK_EVERY_TICKS, silent=True)]
    assert due == [Fact.FAULT, Fact.WATCHDOG, "next"]


def test_what_was_sensed_is_dated_by_when_it_was_asked_for(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed: list[Any] = []
    observe = running.control._observer.observe

    def note(position_rad: Any, time_s: float, *others: Any) -> Any:
        observed.extend((time_s, *others))
        return observe(position_rad, time_s, *others)

    monkeypatch.setattr(running.control._observer, "observe", note)
    asked_ns = running.clock.now_ns()
    tick = begun(running)
    assert [*running.control._senses.sense(tick, Mode.RUN)] == []
    assert (tick.sense_ns, tick.bus_ns, tick.sensed) == (asked_ns, asked_ns, True)
    assert observed == [asked_ns * 1e-9, running.control._bus.inertial]


def test_without_an_answer_nothing_was_sensed(running: Bench) -> None:
    running.port.dead = True
    tick = begun(running)
    tick.bus_ns = 7
    assert [*running.control._senses.sense(tick, Mode.RUN)] == []
    assert (tick.sensed, tick.missed, tick.bus_ns) == (False, "no cable", 7)
    assert running.control.stopwatch._span_ns[Section.OBSERVE] == 0


@pytest.mark.parametrize("mode", [Mode.BOOT, Mode.SELFTEST, Mode.FAULT, Mode.ESTOP])
def test_where_the_bus_is_not_used_it_is_not_read(running: Bench, mode: Mode) -> None:
    written, tick = len(running.port.written), begun(running)
    assert [*running.control._senses.sense(tick, mode)] == []
    assert (len(running.port.written), tick.sensed) == (written, False)
    assert tick.sense_ns == running.clock.now_ns()


# Helm.


@pytest.mark.parametrize(
    ("mode", "driver"),
    [
        (Mode.HOMING, Driver.HOMING),
        (Mode.RECOVER, Driver.HOMING),
        (Mode.RUN, Driver.POLICY),
        (Mode.HOLD, Driver.ZERO),
    ],
)
def test_who_decides_is_decided_by_the_mode(running: Bench, mode: Mode, driver: Driver) -> None:
    tick = begun(running)
    running.control._senses.sense(tick, Mode.RUN)
    running.control.life.mode = mode
    running.control.helm.steer(tick)
    assert (tick.driver, tick.sent) == (driver, True)
    assert tick.bus_ns == running.clock.now_ns()
    assert tick.asked == (driver is Driver.POLICY)


def test_an_episode_that_is_over_is_not_driven_on(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running.control.episode, "observe", lambda obs: End.TERMINATED)
    tick = begun(running)
    running.control._senses.sense(tick, Mode.RUN)
    running.control.helm.steer(tick)
    assert (tick.driver, tick.end, tick.asked) == (Driver.ZERO, End.TERMINATED, False)
    np.testing.assert_array_equal(tick.commanded, [0.0])


def test_a_command_that_does_not_leave_was_not_sent(running: Bench) -> None:
    steps = running.control.episode.step
    tick = begun(running)
    running.control._senses.sense(tick, Mode.RUN)
    sensed_ns = tick.bus_ns
    running.port.dead = True
    running.control.helm.steer(tick)
    assert (tick.sent, tick.missed, tick.bus_ns) == (False, "no cable", sensed_ns)
    assert running.control.episode.step in (steps, steps + 1)  # judged, but no action was taken
    assert running.control.helm.interventions == 0


def test_a_policy_that_fails_for_good_is_told_of(running: Bench, furuta: RobotSpec) -> None:
    slot = running.swap.active
    assert slot is not None
    runner: Any = slot.runner
    runner.weights["w"][:] = np.nan
    running.run(furuta.safety.bad_policy_ticks_to_hold)
    life = running.control.life
    assert (life.mode, life.reason) == (
        Mode.HOLD,
        "the policy is unusable and no previous one is left",
    )


def test_only_what_the_envelope_changed_in_run_is_an_intervention(
    furuta: RobotSpec, rig_port: Any, tmp_path: Path, make_bundle: Make
) -> None:
    tight = msgspec.structs.replace(furuta.safety, effort_rate_max_nm_s=1e-6)
    spec = msgspec.structs.replace(furuta, safety=tight)
    bench = Bench(spec, rig_port, tmp_path)
    bench.boot()
    bench.load(make_bundle(1, robot_digest=spec.digest(), gain=0.0, bias=9.0), 1)
    bench.obey(Start())
    bench.run(3)
    assert bench.control.helm.interventions == 0  # homing is limited too, and nobody counts
    bench.control.life.post(Event.SETTLED, "a test")
    bench.run(3)
    assert bench.control.helm.interventions == bench.control.episode.interventions == 3
    bench.close()


def test_homing_is_told_where_every_part_of_the_body_is(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    control = running.control
    monkeypatch.setattr(control.helm._homing, "update", lambda *body: told.extend(body) or [0.0])
    tick = begun(running)
    control._senses.sense(tick, Mode.RUN)
    control.life.mode = Mode.HOMING
    control.helm.steer(tick)
    observer = control._observer
    assert told == [control._bus.position_rad, observer.velocity, observer.tilt_rad]


def test_what_the_envelope_says_is_added_to_what_is_known(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = begun(running)
    tick.flags = int(Flag.LATE)
    monkeypatch.setattr(running.control._safety, "command", lambda *args: Limited.EFFORT)
    running.control._senses.sense(tick, Mode.RUN)
    running.control.helm.steer(tick)
    assert tick.flags == Flag.LATE | Flag.ASKED | int(Limited.EFFORT)


# Judging a step.


def test_a_judge_is_tried_with_everything_at_zero() -> None:
    seen: list[list[float]] = []

    def noting(obs: Any, applied: Any, following: Any) -> Outcome:
        for part in (obs, applied, following):
            seen.append(
                [float(part[..., column]) for column in range(2 if part is not applied else 1)]
            )
        return Outcome(0.0, False)

    StepJudge(noting, O=2, A=1)
    assert seen == [[0.0, 0.0], [0.0], [0.0, 0.0]] * 2
