"""Does the runtime drive an arm on a bus without watchdogs, and stop it when anything fails?

The whole arm in simulated time. What is the same on every bus is asked in test_control.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from made_arm import ARM, load_arm, make_arm_port
from made_loop import Bench
from made_policy import write_bundle

from onboard.armed_test import ArmedTest
from onboard.bus_choice import bus_for
from onboard.control_api import Clear, Estop, Start, Stop
from onboard.estop_latch import EstopLatch
from onboard.feetech_bus import IN_TURN
from onboard.finding import Finding, Verdict
from onboard.flight_ring import read_flight
from onboard.lifecycle import QUESTIONS
from onboard.recorder import flight_dtype
from onboard.replay import Replay, differences
from onboard.safety import Safety
from onboard.schedule import Schedule
from onboard.self_test import self_test
from onboard.senses import CHECK_EVERY_TICKS
from protocol import feetech, sts3215
from protocol.envelope import Limited
from protocol.modes import Mode
from protocol.observation import Layout
from protocol.register import Register
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, Flag
from sim_harness.env import RigEnv

SPEC = load_arm()
LAYOUT = Layout(SPEC)
ROTATION = 5 * len(IN_TURN) * CHECK_EVERY_TICKS + 1
LEAD_RAD = SPEC.safety.effort_max_nm / 18.6
COUNT = sts3215.RAD_PER_COUNT


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(SPEC, make_arm_port(SPEC), tmp_path)
    bench.boot()
    yield bench
    bench.close()


@pytest.fixture
def start(bench: Bench, tmp_path: Path) -> Callable[..., Bench]:
    """The arm in RUN under a linear policy."""

    def run(**policy: float) -> Bench:
        bench.load(write_bundle(tmp_path, SPEC, 1, **policy), 1)
        assert bench.obey(Start()).ok
        bench.until(Mode.RUN)
        bench.run(3)
        return bench

    return run


@pytest.fixture
def running(start: Callable[..., Bench]) -> Bench:
    return start(gain=0.0)


def held(bench: Bench, register: Register) -> list[int]:
    bench.port.catch_up()
    return [bench.node(node).table.get(register) for node in range(1, 6)]


def torque(bench: Bench) -> int:
    """How many servos have torque."""
    return sum(held(bench, sts3215.TORQUE_ENABLE))


def position_rad(bench: Bench) -> list[float]:
    return bench.port.rig._plant.position_rad()


def sent(bench: Bench) -> list[feetech.Frame]:
    return [frame for packet in bench.port.written for frame in feetech.Parser().feed(packet)]


def goals_written(bench: Bench) -> int:
    at = sts3215.GOAL_POSITION.address
    code = feetech.Instruction.SYNC_WRITE
    return sum(frame.code == code and frame.params[0] == at for frame in sent(bench))


def test_booting_powers_nothing(bench: Bench) -> None:
    assert bench.mode is Mode.IDLE
    assert torque(bench) == 0


def test_it_homes_slowly_runs_and_comes_home_again(bench: Bench, tmp_path: Path) -> None:
    short = {"reach": msgspec.structs.replace(SPEC.tasks["reach"], episode_steps=40)}
    assert short["reach"].episode_steps == 40
    bench.load(write_bundle(tmp_path, SPEC, 1, gain=0.05), 1)
    assert bench.obey(Start()).ok
    assert bench.mode is Mode.HOMING
    fastest = 0.0
    while bench.mode is Mode.HOMING:
        bench.run(1)
        fastest = max(fastest, *map(abs, bench.control._observer.velocity))
    assert bench.mode is Mode.RUN
    assert 0.3 < fastest < 2.0  # 0.8 rad/s and the gears' play
    assert position_rad(bench) == pytest.approx(SPEC.homing.home_rad, abs=0.04)
    bench.until(Mode.RECOVER, ticks=160)
    bench.until(Mode.RUN)
    rows = bench.rows()
    assert rows["end"].max() == End.TRUNCATED
    assert np.abs(rows["applied"]).max() <= 1.0


def test_every_servo_gets_its_torque_limit_before_it_gets_torque(running: Bench) -> None:
    assert held(running, sts3215.TORQUE_LIMIT) == [571] * 5
    assert held(running, sts3215.TORQUE_ENABLE) == [1] * 5


def test_the_goal_in_force_is_observed(running: Bench) -> None:
    goals = [LAYOUT.column(f"goal:{joint.name}") for joint in SPEC.joints]
    counts = np.array(held(running, sts3215.GOAL_POSITION)) - sts3215.CENTRE_COUNT
    running.run(1)
    seen = running.rows()[-1]["obs"][goals]
    signs = np.array([joint.sign for joint in SPEC.joints])
    assert seen == pytest.approx(signs * counts * COUNT, abs=1e-5)


def test_a_policy_that_pushes_on_and_on_stays_within_limits_and_reach(
    start: Callable[..., Bench],
) -> None:
    bench = start(gain=0.0, bias=9.0)
    soft = [joint.position_max_rad - SPEC.safety.position_margin_rad for joint in SPEC.joints]
    for _ in range(100):
        bench.run(1)
        goals = bench.control._safety.goal_rad
        near = [abs(a - b) for a, b in zip(goals, bench.control._bus.position_rad, strict=True)]
        assert max(near) <= LEAD_RAD + 0.04  # and what the joint moved since
        assert all(goal <= limit + 0.02 for goal, limit in zip(goals, soft, strict=True))
        if bench.mode is not Mode.RUN:
            break


def test_stop_takes_the_torque_from_every_servo(running: Bench) -> None:
    running.obey(Stop())
    assert running.mode is Mode.IDLE
    assert torque(running) == 0


def test_an_emergency_stop_latches_and_is_cleared_by_a_self_test(running: Bench) -> None:
    running.control.cut()
    running.obey(Estop(source="test"))
    assert running.mode is Mode.ESTOP
    assert torque(running) == 0
    running.port.written.clear()
    running.run(10)
    assert running.port.written == []
    assert running.obey(Clear()).ok
    running.until(Mode.IDLE)


def test_after_a_cut_no_goal_is_written_any_more(running: Bench) -> None:
    """A goal might be taken for a wish to move; the torque is cut again instead."""
    running.control.cut()
    running.port.written.clear()
    running.run(1)
    assert goals_written(running) == 0
    assert running.rows()[-1]["flags"] & Limited.ESTOP
    assert torque(running) == 0


def test_a_mute_bus_repeats_the_goal_and_is_a_fault_at_last(running: Bench) -> None:
    before = held(running, sts3215.GOAL_POSITION)
    running.port.mute = True
    running.port.written.clear()
    running.run(1)
    assert running.mode is Mode.RUN
    assert goals_written(running) == 1
    assert held(running, sts3215.GOAL_POSITION) == before
    assert running.rows()[-1]["flags"] & Flag.STALE_SENSOR
    running.run(SPEC.bus.misses_to_fault)
    assert running.mode is Mode.FAULT
    assert torque(running) == 0  # the packets arrive, although nobody hears the answers


def test_a_stall_is_noticed_although_no_servo_has_a_watchdog(start: Callable[..., Bench]) -> None:
    """In the meantime the arm has gone to its last goal, and not beyond."""
    bench = start(gain=0.0, bias=0.5)
    bench.run(10)
    goals = list(bench.control._safety.goal_rad)
    bench.clock.sleep(0.5)
    bench.port.catch_up()
    assert position_rad(bench) == pytest.approx(goals, abs=LEAD_RAD)
    bench.run(1)
    assert bench.mode is Mode.HOLD
    assert "left alone" in bench.control.life.reason
    measured = bench.control._bus.position_count
    assert held(bench, sts3215.GOAL_POSITION) == measured  # held where it is
    bench.until(Mode.RECOVER)
    bench.until(Mode.RUN)


def test_late_ticks_hold_where_the_arm_is(start: Callable[..., Bench]) -> None:
    bench = start(gain=0.0, bias=0.5)
    for _ in range(SPEC.safety.late_ticks_to_hold):
        bench.clock.sleep(0.033)
        bench.run(1)
    assert bench.mode is Mode.HOLD
    assert "late ticks" in bench.control.life.reason
    bench.run(2)
    before = position_rad(bench)
    bench.run(15)
    assert bench.mode is Mode.HOLD
    assert position_rad(bench) == pytest.approx(before, abs=0.05)


def test_a_servo_that_restarts_is_noticed_and_told_again(running: Bench) -> None:
    running.node(2).power_up()
    running.until(Mode.HOLD, ticks=ROTATION)
    assert "lift: its torque is off" in running.control.life.reason
    assert torque(running) == 5
    assert held(running, sts3215.TORQUE_LIMIT) == [571] * 5
    running.until(Mode.RECOVER)
    running.until(Mode.RUN)


def test_commands_that_never_arrive_are_noticed(
    start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = start(gain=0.0, bias=0.2)
    monkeypatch.setattr(bench.control._bus, "write", lambda goal: None)
    bench.until(Mode.HOLD, ticks=ROTATION)
    assert "writes are lost" in bench.control.life.reason


def test_a_hot_servo_is_a_fault_at_once(running: Bench) -> None:
    running.node(3).table.put(sts3215.MAX_TEMPERATURE, 20)
    running.run(1)
    assert running.mode is Mode.FAULT
    assert "elbow: hardware error 0x04" in running.control.life.reason
    assert torque(running) == 0


def test_a_weak_supply_is_a_fault(running: Bench) -> None:
    running.port.rig._plant.feed(5.9)
    running.run(ROTATION)
    assert running.mode is Mode.FAULT
    assert "5.9 V is outside" in running.control.life.reason


def enter(bench: Bench, folder: Path, mode: Mode) -> None:
    """From IDLE to a mode with power, by the way that leads there."""
    bench.load(write_bundle(folder, SPEC, 1, gain=0.0), 1)
    assert bench.obey(Start()).ok
    if mode is not Mode.HOMING:
        bench.until(Mode.RUN)
    if mode in (Mode.HOLD, Mode.RECOVER):
        bench.clock.sleep(2.0 * SPEC.bus.watchdog_s)
    bench.until(mode)


@pytest.mark.parametrize("fault", ["dead", "mute"])
@pytest.mark.parametrize("mode", [Mode.HOMING, Mode.RUN, Mode.HOLD, Mode.RECOVER])
def test_a_bus_that_fails_is_a_fault_in_every_mode_with_power(
    bench: Bench, tmp_path: Path, mode: Mode, fault: str
) -> None:
    enter(bench, tmp_path, mode)
    bench.run(2)
    assert bench.mode is mode
    setattr(bench.port, fault, True)
    bench.run(SPEC.bus.misses_to_fault)
    assert bench.mode is Mode.FAULT
    bench.run(QUESTIONS)
    assert "torque may still be on" in " ".join(bench.control.life.journal)


def test_a_servo_that_is_gone_keeps_the_arm_in_fault(bench: Bench) -> None:
    bench.obey(Estop(source="test"))
    bench.node(4).id = 40  # answers to nobody's questions but its own
    bench.port.rig._firmware._nodes[40] = bench.port.rig._firmware._nodes.pop(4)
    assert bench.obey(Clear()).ok
    assert bench.mode is Mode.FAULT
    assert "node 4 (flex) does not answer" in bench.control.life.reason


def test_one_nan_holds_the_goal_and_goes_on(
    start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = start(gain=0.0, bias=0.5)
    slot = bench.swap.active
    assert slot is not None
    before = held(bench, sts3215.GOAL_POSITION)
    with monkeypatch.context() as patch:
        patch.setattr(type(slot), "infer", lambda self, obs: np.full(5, np.nan, np.float32))
        bench.run(1)
    assert bench.mode is Mode.RUN
    assert held(bench, sts3215.GOAL_POSITION) == before
    assert bench.rows()[-1]["applied"].tolist() == [0.0] * 5
    bench.run(1)
    assert held(bench, sts3215.GOAL_POSITION) != before


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {finding.what: finding.verdict for finding in findings}


def test_the_self_test_passes_and_warns_of_what_these_servos_lack() -> None:
    port = make_arm_port(SPEC)
    bus = bus_for(SPEC, lambda: port, port.clock.now_s)
    found = verdicts(self_test(SPEC, bus, port.clock.now_ns))
    assert Verdict.FAILED not in found.values()
    assert [what for what, verdict in found.items() if verdict is Verdict.WARNING] == [
        "bus watchdog"
    ]
    assert "sync read" in found


def test_the_armed_test_moves_every_joint_and_takes_the_torque_off() -> None:
    port, latch = make_arm_port(SPEC), EstopLatch(bytearray(1))
    clock = port.clock
    bus = bus_for(SPEC, lambda: port, clock.now_s)
    bus.connect()
    safety = Safety(SPEC, bus, latch)
    schedule = Schedule(round(1e9 * SPEC.tick_s), clock.now_ns, clock.sleep)
    found = verdicts(ArmedTest(SPEC, bus, safety, schedule, clock.sleep).run())
    assert found == {
        **{f"{joint.name} motion": Verdict.OK for joint in SPEC.joints},
        "bus watchdog, tripped on purpose": Verdict.WARNING,
        "torque off": Verdict.OK,
    }
    assert (
        sum(port.rig._firmware._nodes[n].table.get(sts3215.TORQUE_ENABLE) for n in range(1, 6)) == 0
    )


def test_the_bus_and_the_training_environment_move_the_same_machine(running: Bench) -> None:
    """A full step of every joint, back and forth: in RUN and in the env the same path."""
    env = RigEnv(ARM, "reach")
    obs, _ = env.reset(seed=0)
    names = [joint.name for joint in SPEC.joints]
    columns = [LAYOUT.column(f"position:{name}") for name in names]
    bus, safety = running.control._bus, running.control._safety
    rig, paths = running.port.rig, []
    rig._plant._data.qpos[:], rig._plant._data.qvel[:] = (
        env._plant._data.qpos,
        env._plant._data.qvel,
    )
    safety.power_on()
    for tick in range(40):
        action = np.full(5, np.sin(0.3 * tick), np.float32)
        obs, *_ = env.step(action)
        bus.read()
        safety.command(action, bus.position_rad, [0.0] * 5)
        running.clock.ns += 20_000_000 - running.clock.ns % 20_000_000
        running.port.catch_up()
        paths.append((obs[columns], rig._plant.position_rad()))
    trained, driven = map(np.array, zip(*paths, strict=True))
    assert np.ptp(trained, axis=0).min() > 0.1
    assert np.abs(trained - driven).max() < 0.03


def test_another_goal_is_another_contract() -> None:
    task = msgspec.structs.replace(SPEC.tasks["reach"], goal_m=(0.2, 0.0, 0.2))
    other: RobotSpec = msgspec.structs.replace(SPEC, tasks={"reach": task})
    assert other.digest() != SPEC.digest()


def test_a_flight_replays_without_a_difference(start: Callable[..., Bench], tmp_path: Path) -> None:
    """Homing, a policy, a mute bus, a hold, and home again."""
    bench = start(gain=0.1, bias=0.3)
    bench.run(20)
    bench.port.mute = True
    bench.run(2)
    bench.port.mute = False
    bench.run(5)
    bench.clock.sleep(0.15)
    bench.run(5)
    bench.until(Mode.RUN)
    bench.run(5)
    flight = read_flight(tmp_path / "flight", flight_dtype(SPEC))
    assert flight is not None
    replay = Replay(SPEC, "reach", 0, {})
    assert differences(replay, flight.rows) == []
    assert min(replay.compared[stage] for stage in ("observation", "homing", "safety")) > 30


def test_rows_fit_what_the_server_accepts(running: Bench) -> None:
    from protocol.step_record import decode_rows, dtype_of

    rows: Any = running.rows()
    assert len(decode_rows(rows.tobytes(), dtype_of(SPEC), len(rows))) == len(rows)
