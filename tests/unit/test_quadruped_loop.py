"""Does the runtime stand a walker up, walk it, notice that it fell, and know what it observes?

The whole robot in simulated time. What is the same on every bus is asked in test_control.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_loop import Bench
from made_policy import write_bundle
from made_quadruped import QUADRUPED, lay, load_quadruped, make_quadruped_port, trot

from onboard.bus_choice import bus_for
from onboard.control_api import Start
from onboard.finding import Verdict
from onboard.flight_file import encode_flight, read_recording
from onboard.flight_ring import read_flight
from onboard.homing import homing_for
from onboard.recorder import flight_dtype
from onboard.replay import Replay, differences
from onboard.self_test import self_test
from onboard.step_judge import StepJudge
from protocol import dynamixel as dxl
from protocol import imu_node, xl330
from protocol.modes import Mode
from protocol.observation import Layout
from protocol.step_record import End, Flag, decode_rows, dtype_of
from protocol.tasks import judge_for
from protocol.walk import commanded_m_s
from sim_harness.env import RigEnv

SPEC = load_quadruped()
TASK, LAYOUT = SPEC.task("walk"), Layout(SPEC)
STANDS_M = 0.14
UPRIGHT, UPSIDE_DOWN = (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(SPEC, make_quadruped_port(SPEC), tmp_path)
    bench.boot()
    yield bench
    bench.close()


@pytest.fixture
def running(bench: Bench, tmp_path: Path) -> Bench:
    """Standing, under a policy that asks for the stance."""
    bench.load(write_bundle(tmp_path, SPEC, 1, gain=0.0), 1)
    assert bench.obey(Start()).ok
    bench.until(Mode.RUN, 1000)
    bench.run(3)
    return bench


def height_m(bench: Bench) -> float:
    return float(bench.port.rig._plant._data.qpos[2])


def observed(bench: Bench, label: str) -> float:
    return float(LAYOUT.read(bench.control._observer.vector, label))


def test_booting_moves_nothing_and_starting_stands_it_up(bench: Bench, tmp_path: Path) -> None:
    assert bench.mode is Mode.IDLE
    assert height_m(bench) < 0.07, "it lies on its belly"
    bench.load(write_bundle(tmp_path, SPEC, 1, gain=0.0), 1)
    assert bench.obey(Start()).ok
    bench.until(Mode.RUN, 1000)
    assert height_m(bench) > STANDS_M
    assert bench.control._observer.tilt_rad < 0.1


def test_it_goes_on_standing_and_nothing_is_limited(running: Bench) -> None:
    before = running.control.helm.interventions
    running.run(100)
    assert running.mode is Mode.RUN
    assert height_m(running) > STANDS_M
    assert running.control.helm.interventions == before


def test_every_tick_is_one_read_and_one_write(running: Bench) -> None:
    running.port.written.clear()
    running.run(10)
    codes = [dxl.Parser().feed(packet)[0].instruction for packet in running.port.written]
    assert codes.count(dxl.Instruction.FAST_SYNC_READ) == 10
    assert codes.count(dxl.Instruction.SYNC_WRITE) == 10
    assert codes.count(dxl.Instruction.SYNC_READ) == 2, "one slow register every five ticks"
    assert len(codes) == 22


def test_the_policy_is_asked_at_half_the_rate_of_the_bus(running: Bench) -> None:
    running.run(20)
    asked = (running.rows()["flags"][-20:] & Flag.ASKED) != 0
    assert asked.sum() == 10
    assert not (asked[1:] & asked[:-1]).any()


def test_what_it_observes_is_what_the_body_does(running: Bench) -> None:
    lay(running.port.rig._plant, UPRIGHT, 0.3)  # in the air no foot brakes the turn
    running.port.rig._plant._data.qvel[5] = 0.5
    running.run(1)
    assert observed(running, "gyro:z") == pytest.approx(0.5, abs=0.3)
    assert observed(running, "gravity:z") == pytest.approx(-1.0, abs=0.02)
    for index, joint in enumerate(SPEC.joints):
        angle = running.control._bus.position_rad[index]
        assert observed(running, f"position:{joint.name}") == pytest.approx(angle, abs=1e-6)


def test_an_episode_asks_for_one_speed_and_the_next_for_another(running: Bench) -> None:
    number = running.control.episode.number
    asked = observed(running, "command:speed")
    assert asked == pytest.approx(commanded_m_s(TASK, number))
    running.until(Mode.RECOVER, TASK.episode_steps + 2)
    running.until(Mode.RUN, 400)
    running.run(1)
    assert running.control.episode.number == number + 1
    assert observed(running, "command:speed") == pytest.approx(commanded_m_s(TASK, number + 1))
    assert observed(running, "command:speed") != asked


def test_the_commanded_speeds_fill_their_range_evenly() -> None:
    slowest, fastest = TASK.speeds_m_s
    speeds = sorted(commanded_m_s(TASK, episode) for episode in range(200))
    assert slowest <= speeds[0] < speeds[-1] <= fastest
    assert np.diff(speeds).max() < 3 * (fastest - slowest) / 200


def test_a_fall_ends_the_episode_and_it_is_not_at_home_until_it_stands(running: Bench) -> None:
    lay(running.port.rig._plant, UPSIDE_DOWN, 0.1)
    running.run(2)
    assert running.mode is Mode.RECOVER
    ends = running.rows()["end"]
    assert End.TERMINATED in ends[-3:]
    running.run(150)
    assert running.mode is Mode.RECOVER, "its legs are home, its body is not"


def test_a_hand_that_rights_it_does_not_start_it(running: Bench) -> None:
    lay(running.port.rig._plant, UPSIDE_DOWN, 0.1)
    running.run(50)
    assert running.mode is Mode.RECOVER
    lay(running.port.rig._plant, UPRIGHT, 0.17)
    running.until(Mode.IDLE, 100)
    assert "it lay and was righted" in running.control.life.reason
    assert running.control.life.changes[-1].old == "RECOVER"
    assert running.obey(Start()).ok
    running.until(Mode.RUN, 1000)
    running.until(Mode.RECOVER, TASK.episode_steps + 2)
    running.until(Mode.RUN, 400)


def test_nor_does_it_if_the_loop_stalls_meanwhile(running: Bench) -> None:
    lay(running.port.rig._plant, UPSIDE_DOWN, 0.1)
    running.run(50)
    running.clock.sleep(2.0)
    running.run(2)
    assert running.mode is Mode.HOLD
    lay(running.port.rig._plant, UPRIGHT, 0.17)
    running.until(Mode.RECOVER, 50)
    running.until(Mode.IDLE, 150)
    assert "it lay and was righted" in running.control.life.reason


def test_an_imu_that_shows_nothing_is_no_fall_but_a_dead_bus(running: Bench) -> None:
    imu = running.node(SPEC.imu.id)
    imu.feel = lambda attitude: None
    for register in imu_node.GRAVITY:
        imu.table.put(register, 0)
    running.run(3)
    assert running.mode is Mode.RUN
    assert (running.rows()["flags"][-3:] & Flag.STALE_SENSOR).all()
    assert not running.rows()["end"][-3:].any()
    running.until(Mode.FAULT, SPEC.bus.misses_to_fault)
    assert "node 13 (imu) feels gravity of length 0.00" in running.control.life.reason


def test_an_imu_s_hardware_error_latches(running: Bench) -> None:
    running.node(SPEC.imu.id).table.put(xl330.HARDWARE_ERROR, 4)
    running.run(2)
    assert running.mode is Mode.FAULT
    assert running.control.life.reason.startswith("imu: hardware error 0x04")


def test_left_lying_it_gives_up(running: Bench) -> None:
    lay(running.port.rig._plant, UPSIDE_DOWN, 0.1)
    running.until(Mode.FAULT, round(SPEC.homing.timeout_s * 50) + 20)
    assert "not settled" in running.control.life.reason


def test_without_a_word_it_stays_standing_and_goes_on(running: Bench) -> None:
    running.clock.sleep(2.0)
    running.run(2)
    assert running.mode is Mode.HOLD
    assert height_m(running) > STANDS_M
    running.until(Mode.RUN, 200)
    assert height_m(running) > STANDS_M


def test_a_goal_is_never_farther_than_the_effort_allows(running: Bench, tmp_path: Path) -> None:
    """A policy that wants every extreme at once, each tick another one."""
    running.load(write_bundle(tmp_path, SPEC, 2, gain=8.0), 2)
    reach_rad = SPEC.safety.effort_max_nm / 6.9 + 0.002
    for _ in range(60):
        running.run(1)
        if running.mode is not Mode.RUN:
            break
        bus, safety = running.control._bus, running.control._safety
        for goal, angle in zip(safety.goal_rad, bus.position_rad, strict=True):
            assert abs(goal - angle) < reach_rad


@pytest.mark.parametrize("tilt_rad", [0.0, 0.34, 0.36, 3.1])
def test_home_is_where_it_stands_upright(tilt_rad: float) -> None:
    homing = homing_for(SPEC)
    for _ in range(30):
        homing.update(SPEC.homing.home_rad, [0.0] * 12, tilt_rad)
    assert homing.settled == (tilt_rad < 0.35)


def test_the_judge_of_the_robot_and_that_of_the_server_agree() -> None:
    rng = np.random.default_rng(0)
    judge = judge_for(SPEC, TASK)
    plain = StepJudge(judge, LAYOUT.size, 12)
    assert plain.plain
    obs = rng.normal(0.0, 0.5, (50, LAYOUT.size)).astype(np.float32)
    obs[:, LAYOUT.column("gravity:z")] = -np.abs(obs[:, LAYOUT.column("gravity:z")]) - 0.5
    obs[:, LAYOUT.column("command:speed")] = 0.6
    applied = rng.uniform(-1.0, 1.0, (50, 12)).astype(np.float32)
    batch = judge(obs, applied, obs[::-1])
    for index, (before, action, after) in enumerate(zip(obs, applied, obs[::-1], strict=True)):
        alone = plain(before.tolist(), action.tolist(), after.tolist())
        assert float(alone.reward) == pytest.approx(float(batch.reward[index]), abs=1e-5)
        assert bool(alone.terminated) == bool(batch.terminated[index])


def test_the_bus_and_the_training_environment_move_the_same_machine(running: Bench) -> None:
    """One gait, driven over the bus and in training: in the same place after a second."""
    env = RigEnv(QUADRUPED, "walk")
    env.reset(seed=0)
    bus, safety = running.control._bus, running.control._safety
    plant, paths = running.port.rig._plant, []
    plant._data.qpos[:], plant._data.qvel[:] = env._plant._data.qpos, env._plant._data.qvel
    safety.power_on()
    for step in range(25):
        action = trot(step / 25)
        env.step(action)
        for _ in range(2):
            bus.read()
            safety.command(action, bus.position_rad, [0.0] * 12)
            running.clock.ns += 20_000_000 - running.clock.ns % 20_000_000
            running.port.catch_up()
        paths.append((env._plant._data.qpos.copy(), plant._data.qpos.copy()))
    trained, driven = map(np.array, zip(*paths, strict=True))
    assert np.ptp(trained[:, 7:], axis=0)[[1, 2]].min() > 0.1
    assert np.abs(trained[:, 7:] - driven[:, 7:]).max() < 0.1
    assert np.abs(trained[:, :3] - driven[:, :3]).max() < 0.03


def test_a_flight_replays_without_a_difference(running: Bench, tmp_path: Path) -> None:
    """Standing up, a moving policy, a mute bus; the IMU's counts lie in the file."""
    running.load(write_bundle(tmp_path, SPEC, 2, gain=0.05), 2)
    running.run(30)
    running.port.mute = True
    running.run(2)
    running.port.mute = False
    running.run(20)
    flight = read_flight(tmp_path / "flight", flight_dtype(SPEC))
    assert flight is not None
    path = tmp_path / "flight.mcap"
    path.write_bytes(encode_flight(SPEC, flight.rows, {"life": "0"}))
    rows = read_recording(path).rows
    assert (rows["imu_count"] == flight.rows["imu_count"]).all()
    replay = Replay(SPEC, "walk", 0, {})
    assert differences(replay, rows) == []
    assert replay.compared["observation"] > 50
    assert replay.compared["homing"] > 30


def test_the_self_test_passes_and_shows_which_way_is_down() -> None:
    port = make_quadruped_port(SPEC)
    found = self_test(SPEC, bus_for(SPEC, lambda: port, port.clock.now_s), port.clock.now_ns)
    assert {each.verdict for each in found} == {Verdict.OK}, found
    assert any(each.what == "imu" and "down is" in each.detail for each in found)


def test_rows_fit_what_the_server_accepts(running: Bench) -> None:
    rows = running.rows()
    assert len(decode_rows(rows.tobytes(), dtype_of(SPEC), len(rows))) == len(rows)


def test_other_legs_are_another_contract_and_another_imu_error_is_not() -> None:
    legs = msgspec.structs.replace(SPEC.legs, thigh_m=0.11)
    assert msgspec.structs.replace(SPEC, legs=legs).digest() != SPEC.digest()
    worse: Callable[..., object] = msgspec.structs.replace
    bodies = {"nominal": worse(SPEC.body("nominal"), imu_rate_noise_rad_s=0.5)}
    plant = msgspec.structs.replace(SPEC.plant, bodies=bodies)
    assert msgspec.structs.replace(SPEC, plant=plant).digest() == SPEC.digest()
