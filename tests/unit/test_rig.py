import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from protocol import xl330
from protocol.dynamixel import Parser, make_read, make_sync_write, make_write, parse_status
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.env import RigEnv
from sim_harness.firmware import firmware_for
from sim_harness.model import compile_model
from sim_harness.plant import Plant
from sim_harness.rig import Rig

CONFIGS = Path(__file__).parents[2] / "hw_configs"
MS = 1_000_000
ARM, PENDULUM = 1, 2


def build(spec: RobotSpec | None = None) -> Rig:
    spec = spec or load_robot_spec(CONFIGS / "furuta.toml")
    body = spec.body("nominal")
    plant = Plant(spec, body, compile_model(spec, body, CONFIGS), seed=5)
    return Rig(spec, "nominal", plant, firmware_for(spec))


def read(rig: Rig, node: int, register: xl330.Register) -> int:
    (reply,) = rig.receive(make_read(node, register.address, register.size), rig.time_ns)
    (frame,) = Parser().feed(reply.data)
    return register.unpack(parse_status(frame).params)


def write(rig: Rig, register: xl330.Register, value: int) -> None:
    rig.receive(make_write(ARM, register.address, register.pack(value)), rig.time_ns)


def push(rig: Rig, current_ma: int, watchdog: int = 0) -> None:
    write(rig, xl330.OPERATING_MODE, xl330.CURRENT_MODE)
    write(rig, xl330.TORQUE_ENABLE, 1)
    write(rig, xl330.BUS_WATCHDOG, watchdog)
    goal = xl330.GOAL_CURRENT
    rig.receive(make_sync_write(goal.address, 2, [(ARM, goal.pack(current_ma))]), rig.time_ns)


def test_only_whole_physics_steps_are_run():
    rig = build()
    rig.advance(2_999_999)
    assert rig.time_ns == 2 * MS
    rig.advance(3_000_000)
    assert rig.time_ns == 3 * MS


def test_goal_current_moves_the_arm_and_the_pendulum_with_it():
    rig = build()
    rig.advance(10 * MS)
    before = [read(rig, node, xl330.PRESENT_POSITION) for node in (ARM, PENDULUM)]
    push(rig, 300)
    rig.advance(200 * MS)
    after = [read(rig, node, xl330.PRESENT_POSITION) for node in (ARM, PENDULUM)]
    assert after[0] - before[0] > 200
    assert abs(after[1] - before[1]) > 50
    assert read(rig, ARM, xl330.PRESENT_CURRENT) == pytest.approx(300, abs=1)
    assert read(rig, ARM, xl330.PRESENT_VELOCITY) > 50
    assert read(rig, ARM, xl330.PRESENT_VOLTAGE) == 50


def test_a_motor_mounted_in_reverse_counts_and_pushes_the_other_way():
    spec = load_robot_spec(CONFIGS / "furuta.toml")
    joints = [msgspec.structs.replace(spec.joints[0], sign=-1), spec.joints[1]]
    plain, reverse = build(), build(msgspec.structs.replace(spec, joints=joints))
    for rig, current in ((plain, 300), (reverse, -300)):
        push(rig, current)
        rig.advance(100 * MS)
    moved = [
        read(rig, ARM, xl330.PRESENT_POSITION) - xl330.CENTRE_COUNT for rig in (plain, reverse)
    ]
    assert moved[0] == -moved[1]
    assert read(reverse, ARM, xl330.PRESENT_CURRENT) == -read(plain, ARM, xl330.PRESENT_CURRENT)


def test_silence_stops_the_motor_through_its_own_watchdog():
    rig = build()
    push(rig, 300, watchdog=3)
    rig.advance(rig.time_ns + 60 * MS)
    driven = read(rig, ARM, xl330.PRESENT_CURRENT)
    rig.advance(rig.time_ns + 60 * MS)
    fed = read(rig, ARM, xl330.PRESENT_CURRENT)
    rig.advance(rig.time_ns + 400 * MS)
    assert (driven, fed) == (300, 300)
    assert read(rig, ARM, xl330.PRESENT_CURRENT) == 0
    assert read(rig, ARM, xl330.BUS_WATCHDOG) == xl330.WATCHDOG_TRIPPED
    position = read(rig, ARM, xl330.PRESENT_POSITION)
    push(rig, 300)  # clears the watchdog: the motor obeys again
    rig.advance(rig.time_ns + 100 * MS)
    assert read(rig, ARM, xl330.PRESENT_POSITION) > position + 20


def test_torque_off_lets_the_arm_coast_to_rest():
    rig = build()
    push(rig, 300)
    rig.advance(100 * MS)
    write(rig, xl330.TORQUE_ENABLE, 0)
    rig.advance(1500 * MS)
    assert read(rig, ARM, xl330.PRESENT_CURRENT) == 0
    assert read(rig, ARM, xl330.MOVING) == 0


def test_equal_bytes_at_equal_times_give_equal_motion():
    def run() -> list[int]:
        rig = build()
        seen = []
        for tick in range(20):
            push(rig, 40 * (tick % 7 - 3))
            rig.advance((tick + 1) * 20 * MS)
            seen.append(read(rig, PENDULUM, xl330.PRESENT_POSITION))
        return seen

    assert run() == run()


def test_the_bus_and_the_training_environment_move_the_same_machine():
    """Equal currents through registers and through the env: every encoder count agrees."""
    env = RigEnv(CONFIGS / "furuta.toml", "swing_up")
    layout = Layout(load_robot_spec(CONFIGS / "furuta.toml"))
    env.reset(seed=5)
    rig = build()
    push(rig, 0)
    rig.advance(20 * MS)
    rng = np.random.default_rng(0)
    for tick in range(2, 100):
        obs, *_, info = env.step(rng.uniform(-1.0, 1.0, 1).astype(np.float32))
        goal = xl330.GOAL_CURRENT.pack(round(float(info["applied"][0]) * 800))
        rig.receive(make_sync_write(xl330.GOAL_CURRENT.address, 2, [(ARM, goal)]), rig.time_ns)
        rig.advance(tick * 20 * MS)
        arm_rad = (read(rig, ARM, xl330.PRESENT_POSITION) - 2048) * xl330.RAD_PER_COUNT
        swing_rad = (read(rig, PENDULUM, xl330.PRESENT_POSITION) - 2048) * xl330.RAD_PER_COUNT
        assert layout.read(obs, "position:arm") == pytest.approx(arm_rad, abs=1e-5)
        assert layout.read(obs, "cos:pendulum") == pytest.approx(-math.cos(swing_rad), abs=1e-5)
