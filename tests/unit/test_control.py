"""Does the loop do the right thing, tick by tick? The whole rig, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from made_loop import Bench

from onboard.backends.onnx_runtime import OnnxRunner
from onboard.backends.port import FloatArray
from onboard.command import Command
from onboard.control_api import Clear, Done, Estop, Start, Stop
from onboard.dynamixel_bus import IN_TURN
from onboard.modes import Event
from onboard.patience import HOLDS_TO_GIVE_UP
from onboard.policy import Slot
from onboard.probation import PROBATION_EPISODES, Verdict
from onboard.senses import CHECK_EVERY_TICKS
from protocol import xl330
from protocol.dynamixel import Status
from protocol.envelope import Limited
from protocol.errors import BusError
from protocol.modes import MOVING, Mode
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, Flag, decode_rows, dtype_of, transition_mask

Make = Callable[..., Path]


@pytest.fixture
def bench(furuta: RobotSpec, rig_port: Any, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(furuta, rig_port, tmp_path)
    bench.boot()
    yield bench
    bench.reader.close()
    bench.ring.close()


@pytest.fixture
def running(bench: Bench, make_bundle: Make) -> Bench:
    """Five ticks into the first episode of policy 1."""
    bench.load(make_bundle(1), 1)
    assert bench.obey(Start()).ok
    bench.until(Mode.RUN)
    bench.run(5)
    return bench


def weights_of(slot: Slot) -> Mapping[str, FloatArray]:
    """The very memory its runner computes with."""
    assert isinstance(slot.runner, OnnxRunner)
    return slot.runner.weights


def break_policy(bench: Bench) -> None:
    """The active policy answers NaN from now on."""
    slot = bench.swap.active
    assert slot is not None
    weights_of(slot)["w"][:] = np.nan


def test_it_comes_up_idle_without_torque_and_records_nothing_but_the_way(bench: Bench) -> None:
    bench.run(50)
    assert bench.mode is Mode.IDLE
    assert bench.motor(xl330.TORQUE_ENABLE) == 0
    assert bench.rows()["mode"].tolist() == [Mode.IDLE]


def test_start_is_refused_without_a_policy(bench: Bench) -> None:
    done = bench.obey(Start())
    assert (done.ok, done.detail) == (False, "cannot start: no policy is active yet")
    assert bench.mode is Mode.IDLE


def test_an_episode_leaves_as_many_rows_as_steps_and_one(running: Bench, furuta: RobotSpec) -> None:
    running.until(Mode.RECOVER)
    running.until(Mode.RUN)
    running.run(3)
    rows = running.rows()
    assert len(decode_rows(rows.tobytes(), dtype_of(furuta), len(rows))) == len(rows)
    first = rows[(rows["episode"] == 1) & (rows["mode"] == Mode.RUN)]
    assert first["step"].tolist() == list(range(251))
    assert first["end"].tolist() == [End.RUNNING] * 250 + [End.TRUNCATED]
    assert transition_mask(first).sum() == 250
    assert set(rows["mode"]) == {Mode.IDLE, Mode.HOMING, Mode.RUN, Mode.RECOVER}
    assert running.control.episode.number == 2
    assert (np.diff(rows["tick"].astype(int)) == 1)[1:].all()


def test_rows_hold_the_applied_actions_as_the_next_observation_sees_them(
    running: Bench, furuta: RobotSpec
) -> None:
    from protocol.observation import Layout

    running.run(40)
    rows = running.rows()
    rows = rows[rows["mode"] == Mode.RUN]
    seen = Layout(furuta).read(rows["obs"], "applied:arm:1")
    assert seen[1:] == pytest.approx(rows["applied"][:-1, 0], abs=1e-6)
    assert np.abs(rows["requested"] - rows["applied"]).max() < 1e-3
    assert len(np.unique(rows["applied"])) > 5


def test_stop_cuts_torque_in_the_same_tick_and_aborts_the_episode(running: Bench) -> None:
    assert running.obey(Stop()) == Done(ok=True, detail="IDLE")
    assert running.motor(xl330.TORQUE_ENABLE) == 0
    last = running.rows()[-1]
    assert (last["mode"], last["end"]) == (Mode.IDLE, End.ABORTED)
    assert running.obey(Start()).ok
    running.until(Mode.RUN)


@pytest.mark.parametrize("when", ["idle", "homing", "run"])
def test_estop_latches_until_cleared(bench: Bench, make_bundle: Make, when: str) -> None:
    bench.load(make_bundle(1), 1)
    if when != "idle":
        bench.obey(Start())
    if when == "run":
        bench.until(Mode.RUN)
        bench.run(3)
    assert bench.obey(Estop()).ok
    assert bench.motor(xl330.TORQUE_ENABLE) == 0
    assert not bench.obey(Start()).ok
    bench.obey(Stop())
    assert bench.mode is Mode.ESTOP
    assert bench.obey(Clear()).ok
    bench.until(Mode.IDLE)
    assert bench.motor(xl330.TORQUE_ENABLE) == 0


def test_a_start_or_clear_after_its_deadline_moves_nothing(bench: Bench, make_bundle: Make) -> None:
    bench.load(make_bundle(1), 1)
    late, now_ns = bench.clock.now_ns() - 1, bench.clock.now_ns()
    done = bench.obey(Start(deadline_ns=late))
    assert (done.ok, bench.mode) == (False, Mode.IDLE)
    assert "too late" in done.detail
    assert bench.obey(Start(deadline_ns=now_ns + 100_000_000)).ok
    bench.obey(Estop())
    assert not bench.obey(Clear(deadline_ns=late)).ok
    assert bench.mode is Mode.ESTOP


def test_a_withdrawn_command_is_skipped(bench: Bench, make_bundle: Make) -> None:
    bench.load(make_bundle(1), 1)
    command = Command(Start())
    bench.control.orders.queue.append(command)
    assert command.take()
    bench.run(2)
    assert bench.mode is Mode.IDLE
    assert command.reply is None


def test_clear_is_refused_when_nothing_is_latched(bench: Bench) -> None:
    assert not bench.obey(Clear()).ok


def test_one_nan_sends_zero_and_goes_on(running: Bench) -> None:
    slot = running.swap.active
    assert slot is not None
    kept = weights_of(slot)["w"].copy()
    break_policy(running)
    running.run(1)
    weights_of(slot)["w"][:] = kept
    running.run(1)
    bad, good = running.rows()[-2:]
    assert bad["flags"] & Flag.BAD_POLICY
    assert np.isnan(bad["requested"]).all()
    assert bad["applied"].tolist() == [0.0]
    assert not good["flags"] & Flag.BAD_POLICY
    assert running.mode is Mode.RUN


def test_a_run_of_nan_without_a_previous_policy_holds_then_idles(running: Bench) -> None:
    break_policy(running)
    running.run(3)
    assert running.mode is Mode.HOLD
    assert running.motor(xl330.GOAL_CURRENT) == 0
    assert running.swap.active is None
    running.until(Mode.IDLE, ticks=40)
    assert "no policy is left" in running.control.life.reason
    assert not running.obey(Start()).ok


def test_a_run_of_nan_rolls_back_to_the_previous_policy_at_once(
    running: Bench, make_bundle: Make
) -> None:
    running.load(make_bundle(2), 2)
    running.run(5)
    break_policy(running)
    running.run(4)
    assert running.mode is Mode.RUN
    assert running.swap.active_version == 1
    rows = running.rows()[-4:]
    assert rows["policy_version"].tolist() == [2, 2, 2, 1]
    assert (rows["flags"] & Flag.BAD_POLICY > 0).tolist() == [True, True, True, False]
    assert rows["flags"][2] & Flag.SWAPPED


def test_a_swap_happens_between_two_ticks_of_an_episode(running: Bench, make_bundle: Make) -> None:
    running.load(make_bundle(2, exploration=0.1), 2)
    running.run(1)
    rows = running.rows()[-3:]
    assert rows["policy_version"].tolist() == [1, 2, 2]
    assert (rows["flags"] & Flag.SWAPPED > 0).tolist() == [False, True, False]
    assert (rows["flags"] & Flag.EXPLORING > 0).tolist() == [False, True, True]
    assert (rows["mode"] == Mode.RUN).all()
    running.until(Mode.RECOVER)
    running.until(Mode.RUN)
    running.run(1)
    running.until(Mode.RECOVER)
    assert [event.outcome for event in running.swap.events][-1] == "committed"


@pytest.mark.parametrize("fault", ["dead", "mute"])
def test_a_dead_bus_is_a_fault_within_the_allowed_misses(
    running: Bench, furuta: RobotSpec, fault: str
) -> None:
    setattr(running.port, fault, True)
    running.run(furuta.bus.misses_to_fault - 1)
    assert running.mode is Mode.RUN
    assert running.rows()[-1]["flags"] & Flag.STALE_SENSOR
    running.run(1)
    assert running.mode is Mode.FAULT
    setattr(running.port, fault, False)
    running.run(60)  # torque-off is tried again until it is confirmed
    assert running.motor(xl330.TORQUE_ENABLE) == 0
    assert running.obey(Clear()).ok
    running.until(Mode.IDLE)


def test_a_mute_bus_sends_zero_at_once(running: Bench) -> None:
    """Without a reading the motor gets a safe command in the same tick."""
    running.port.mute = True
    running.run(1)
    assert running.motor(xl330.GOAL_CURRENT) == 0
    running.port.mute = False
    running.run(2)
    assert running.mode is Mode.RUN
    rows = running.rows()
    rows = rows[rows["mode"] == Mode.RUN]
    assert (~transition_mask(rows)).sum() == 2  # to the stale row and from it


def test_a_stale_pose_beyond_the_soft_limit_commands_nothing(
    running: Bench, furuta: RobotSpec
) -> None:
    """The barrier may push only from where the joint is, not from where it was."""
    running.port.mute = True
    running.control._bus.position_rad[0] = furuta.joints[0].position_max_rad
    for _ in range(furuta.bus.misses_to_fault - 1):
        running.run(1)
        assert running.motor(xl330.GOAL_CURRENT) == 0
        assert running.rows()[-1]["applied"].tolist() == [0.0]
    assert running.mode is Mode.RUN


def test_a_motor_fault_latches(running: Bench) -> None:
    table = running.port.rig._firmware._nodes[1].table
    table.put(xl330.HARDWARE_ERROR, 32)
    running.run(3)
    assert running.mode is Mode.FAULT
    assert "hardware error" in running.control.life.reason
    running.obey(Clear())
    assert running.mode is Mode.FAULT  # the self-test finds it again


def test_a_hardware_error_of_a_node_without_a_motor_latches_too(running: Bench) -> None:
    running.node(2).table.put(xl330.HARDWARE_ERROR, 4)
    running.run(1)
    assert running.mode is Mode.FAULT
    assert "pendulum: hardware error" in running.control.life.reason
    running.obey(Clear())
    assert running.mode is Mode.FAULT  # the self-test finds it again
    running.node(2).table.put(xl330.HARDWARE_ERROR, 0)
    running.obey(Clear())
    running.until(Mode.IDLE)


ROTATION = len(IN_TURN) * CHECK_EVERY_TICKS + 1
"""Ticks in which every slow register of the one motor is read."""


@pytest.mark.parametrize("alert", [False, True])
@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [("voltage_min_v", 5.5, "supply of 5.0 V"), ("temperature_max_c", 20.0, "let it cool")],
)
def test_supply_and_temperature_are_watched_while_it_runs(
    running: Bench, furuta: RobotSpec, limit: str, value: float, text: str, alert: bool
) -> None:
    """Also beside an alert bit that no register explains."""
    if alert:
        encoder = running.node(2)
        encoder._status = lambda error=0, params=b"": Status(encoder.id, error, True, params)
    strict = msgspec.structs.replace(furuta.safety, **{limit: value})
    running.control._safety._spec = msgspec.structs.replace(furuta, safety=strict)
    running.run(ROTATION)
    assert running.mode is Mode.FAULT
    assert text in running.control.life.reason


@pytest.mark.parametrize(
    ("register", "value", "text"),
    [
        (xl330.BUS_WATCHDOG, 0, "watchdog is 0 ms, not 40 ms"),
        (xl330.TORQUE_ENABLE, 0, "its torque is off"),
    ],
)
def test_a_motor_that_forgot_what_it_was_told_is_noticed_and_told_again(
    running: Bench, register: xl330.Register, value: int, text: str
) -> None:
    running.node(1).table.put(register, value)
    for _ in range(ROTATION):
        if running.mode is Mode.HOLD:
            break
        running.run(1)
    assert running.mode is Mode.HOLD
    assert text in running.control.life.reason
    assert running.motor(xl330.BUS_WATCHDOG) == 2
    assert running.motor(xl330.TORQUE_ENABLE) == 1


def test_a_motor_that_restarts_is_driven_home_and_goes_on(running: Bench) -> None:
    """A brown-out: RAM back to its initial values, torque off, no alert."""
    running.node(1).reboot()
    running.until(Mode.HOLD, ticks=ROTATION)
    assert "restarted" in running.control.life.reason
    running.until(Mode.RECOVER)
    running.until(Mode.RUN)
    assert running.motor(xl330.TORQUE_ENABLE) == 1


def test_commands_that_never_arrive_are_noticed(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads succeed, so the motor's own watchdog is content; only its goal tells."""
    monkeypatch.setattr(running.control._bus, "write", lambda current_a: None)
    running.until(Mode.HOLD, ticks=ROTATION)
    assert "writes are lost" in running.control.life.reason


def test_a_motor_that_may_still_be_powered_at_the_end_is_reported(running: Bench) -> None:
    running.port.dead = True
    running.control.end()
    with pytest.raises(BusError, match="arm: torque may still be on"):
        running.control.run()
    assert "torque may still be on" in running.control.life.journal[-1]


def test_a_stall_that_trips_the_motor_watchdog_is_noticed_and_driven_home(
    running: Bench,
) -> None:
    running.clock.sleep(0.15)
    running.port.catch_up()
    assert running.motor(xl330.BUS_WATCHDOG) == xl330.WATCHDOG_TRIPPED
    running.run(1)
    assert running.mode is Mode.HOLD
    assert "watchdog stopped it" in running.control.life.reason
    assert running.control.counters.missed_ticks > 0
    last = running.rows()[-1]
    assert last["flags"] & Flag.GAP
    assert last["flags"] & Flag.LATE
    running.until(Mode.RECOVER)
    running.until(Mode.RUN)
    assert running.motor(xl330.BUS_WATCHDOG) == 2


def test_holds_without_an_episode_between_end_in_idle(running: Bench) -> None:
    for _ in range(HOLDS_TO_GIVE_UP):
        running.until(Mode.RUN)
        running.clock.sleep(0.15)
        running.run(1)
        assert running.mode is Mode.HOLD
    running.until(Mode.IDLE, ticks=40)
    assert "3 holds" in running.control.life.reason


def test_a_run_of_late_ticks_holds(running: Bench, furuta: RobotSpec) -> None:
    for _ in range(furuta.safety.late_ticks_to_hold):
        running.clock.sleep(0.033)
        running.run(1)
    assert running.mode is Mode.HOLD
    assert "late ticks" in running.control.life.reason


def test_homing_that_takes_too_long_is_a_fault(
    furuta: RobotSpec, rig_port: Any, tmp_path: Path, make_bundle: Make
) -> None:
    never = msgspec.structs.replace(furuta.homing, settled_velocity_rad_s=1e-9, timeout_s=0.5)
    bench = Bench(msgspec.structs.replace(furuta, homing=never), rig_port, tmp_path)
    digest = msgspec.structs.replace(furuta, homing=never).digest()
    bench.boot()
    bench.load(make_bundle(1, robot_digest=digest), 1)
    bench.obey(Start())
    bench.until(Mode.FAULT, ticks=40)
    assert "not settled" in bench.control.life.reason
    bench.reader.close()
    bench.ring.close()


def test_nobody_confirming_for_too_long_ends_in_idle(
    furuta: RobotSpec, rig_port: Any, tmp_path: Path, make_bundle: Make
) -> None:
    strict = msgspec.structs.replace(
        furuta, safety=msgspec.structs.replace(furuta.safety, operator_timeout_s=1.0)
    )
    bench = Bench(strict, rig_port, tmp_path)
    bench.boot()
    bench.load(make_bundle(1, robot_digest=strict.digest()), 1)
    bench.obey(Start())
    bench.until(Mode.IDLE, ticks=60)
    assert "no operator command" in bench.control.life.reason
    bench.reader.close()
    bench.ring.close()


def test_start_on_a_bus_that_just_died_ends_in_fault(bench: Bench, make_bundle: Make) -> None:
    bench.load(make_bundle(1), 1)
    bench.port.dead = True
    done = bench.obey(Start())
    assert not done.ok
    assert bench.mode is Mode.FAULT


def test_a_dead_bus_at_start_is_a_fault_that_can_be_cleared_later(
    furuta: RobotSpec, rig_port: Any, tmp_path: Path
) -> None:
    rig_port.dead = True
    bench = Bench(furuta, rig_port, tmp_path)
    bench.boot()
    assert bench.mode is Mode.FAULT
    rig_port.dead = False
    assert bench.obey(Clear()).ok
    bench.until(Mode.IDLE)
    bench.reader.close()
    bench.ring.close()


def test_missed_ticks_near_a_swap_are_told_apart(running: Bench, make_bundle: Make) -> None:
    counters = running.control.counters
    running.run(20)
    running.clock.sleep(0.045)
    running.run(10)
    assert (counters.missed_ticks, counters.missed_ticks_near_swaps) == (1, 0)
    running.load(make_bundle(2), 2)
    running.clock.sleep(0.045)
    running.run(10)
    assert (counters.missed_ticks, counters.missed_ticks_near_swaps) == (2, 1)


def test_the_loop_ends_torque_free_even_on_an_exception(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(running.control._observer, "observe", explode)
    with pytest.raises(RuntimeError):
        running.control.run()
    assert running.motor(xl330.TORQUE_ENABLE) == 0


def test_only_moving_modes_fill_the_ring(running: Bench) -> None:
    running.obey(Stop())
    produced = running.ring.produced
    running.run(100)
    assert running.ring.produced == produced
    assert Mode.IDLE not in MOVING


def test_a_limited_command_says_so(running: Bench, make_bundle: Make) -> None:
    """At full effort for good, the arm meets its barrier."""
    running.load(make_bundle(2, gain=0.0, bias=9.0), 2)
    running.run(60)
    rows = running.rows()
    assert (rows["flags"] & Limited.POSITION).any()
    assert running.control.helm.interventions > 0
    assert np.abs(rows["obs"][:, 0] / 0.5).max() < 2.6


def test_a_run_of_late_ticks_drops_a_policy_on_probation_at_once(
    running: Bench, furuta: RobotSpec, make_bundle: Make
) -> None:
    running.load(make_bundle(2), 2)
    for _ in range(furuta.safety.late_ticks_to_hold):
        running.clock.sleep(0.033)
        running.run(1)
    assert running.mode is Mode.HOLD
    assert running.swap.active_version == 1
    assert "late ticks in a row" in running.swap.events[-1].reason


def test_late_ticks_on_the_way_home_are_not_held_against_the_policy(
    bench: Bench, furuta: RobotSpec, make_bundle: Make
) -> None:
    bench.load(make_bundle(1), 1)
    bench.load(make_bundle(2), 2)
    bench.obey(Start())
    assert bench.mode is Mode.HOMING
    for _ in range(furuta.safety.late_ticks_to_hold):
        bench.clock.sleep(0.033)
        bench.run(1)
    assert bench.mode is Mode.HOLD
    assert bench.swap.active_version == 2


def test_a_policy_on_probation_that_stalls_in_every_episode_is_dropped(
    running: Bench, make_bundle: Make
) -> None:
    running.load(make_bundle(2), 2)
    for stalls in range(1, PROBATION_EPISODES + 1):
        running.until(Mode.RUN)
        assert running.swap.active_version == 2
        running.clock.sleep(0.15)
        running.run(1)
        assert running.control.life.holds == stalls
    assert running.swap.active_version == 1
    assert "ended by motors or bus" in running.swap.events[-1].reason


def test_a_robot_that_gives_up_keeps_its_committed_policy(
    running: Bench, make_bundle: Make
) -> None:
    for _ in range(HOLDS_TO_GIVE_UP):
        running.until(Mode.RUN)
        running.clock.sleep(0.15)
        running.run(1)
    running.until(Mode.IDLE, ticks=40)
    assert running.swap.active_version == 1


@pytest.mark.parametrize("event", [Event.MOTOR_FAULT, Event.BUS_DEAD, Event.MOTOR_SILENT])
def test_what_motors_and_bus_end_is_told_to_probation(
    running: Bench, monkeypatch: pytest.MonkeyPatch, event: Event
) -> None:
    aborted: list[Verdict] = []
    monkeypatch.setattr(running.swap, "episode_aborted", aborted.append)
    running.run(3)
    wanted = running.control.episode.verdict
    running.control.life.post(event, "a test")
    running.control.life.post(event, "and once more")
    assert aborted == [wanted]


@pytest.mark.parametrize("event", [Event.STOP, Event.ESTOP, Event.OPERATOR_TIMEOUT])
def test_what_people_end_is_no_policys_fault(
    running: Bench, monkeypatch: pytest.MonkeyPatch, event: Event
) -> None:
    aborted: list[Verdict] = []
    monkeypatch.setattr(running.swap, "episode_aborted", aborted.append)
    running.control.life.post(event, "a test")
    assert aborted == []


def test_a_completed_episode_is_judged_with_its_interventions_and_late_ticks(
    running: Bench, make_bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts: list[Verdict] = []
    monkeypatch.setattr(running.swap, "episode_completed", verdicts.append)
    running.load(make_bundle(2, gain=0.0, bias=9.0), 2)  # presses against the barrier
    running.clock.sleep(0.033)
    before = running.control.helm.interventions
    running.until(Mode.RECOVER)
    limited = running.control.helm.interventions - before
    (verdict,) = verdicts
    steps, score = running.control.episode.step, running.control.episode.score
    assert (verdict.steps, verdict.late_ticks, verdict.episodes) == (steps, 1, 1)
    assert verdict.interventions >= limited > 0
    assert verdict.score == score > 0.0
    assert verdict.bus_misses == 0


def test_an_episode_counts_its_own_ticks_without_bus(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts: list[Verdict] = []
    monkeypatch.setattr(running.swap, "episode_completed", verdicts.append)
    for _ in range(3):  # never long enough to be taken for a dead bus
        running.port.mute = True
        running.run(2)
        running.port.mute = False
        running.run(3)
    running.until(Mode.RECOVER)
    assert verdicts[0].bus_misses == 6
    running.port.mute = True  # on the way home, and in nobody's episode
    running.run(1)
    running.port.mute = False
    running.until(Mode.RUN)
    assert running.control.episode.verdict.bus_misses == 0
