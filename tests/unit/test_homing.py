"""Does the reset controller bring the rig home, stay inside the stops, and know when it is done?"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from onboard.homing import Homing, homing_for
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.env import RigEnv
from sim_harness.plant import load_plant

HANGING = math.pi


def settled_after(homing: Homing, ticks: int, position: list[float], speed: list[float]) -> bool:
    for _ in range(ticks):
        homing.update(position, speed)
    return homing.settled


def test_it_settles_only_after_being_still_for_long_enough(furuta: RobotSpec) -> None:
    homing = homing_for(furuta)
    assert not settled_after(homing, 14, [0.0, HANGING], [0.0, 0.0])
    assert settled_after(homing, 1, [0.0, HANGING], [0.0, 0.0])
    homing.reset()
    assert not homing.settled


@pytest.mark.parametrize(
    ("position", "speed"),
    [
        ([0.16, HANGING], [0.0, 0.0]),
        ([0.0, HANGING + 0.09], [0.0, 0.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([0.0, HANGING], [0.31, 0.0]),
        ([0.0, HANGING], [0.0, 0.41]),
    ],
)
def test_one_restless_quantity_keeps_it_going(
    furuta: RobotSpec, position: list[float], speed: list[float]
) -> None:
    assert not settled_after(homing_for(furuta), 50, position, speed)


def test_any_turn_of_a_hanging_pendulum_counts_as_hanging(furuta: RobotSpec) -> None:
    assert settled_after(homing_for(furuta), 15, [0.0, HANGING - 6 * math.pi], [0.0, 0.0])


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_it_drives_home_and_never_into_a_stop(furuta: RobotSpec, side: float) -> None:
    homing = homing_for(furuta)
    assert side * homing.update([side * 0.5, HANGING], [0.0, 0.0])[0] < 0.0
    swinging = [side * 2.2, HANGING + side * 0.5 * math.pi]  # damping alone would push outwards
    assert side * homing.update(swinging, [0.0, 0.0])[0] <= 0.0
    assert abs(homing.update([side * 99.0, 1.0], [side * 99.0, 0.0])[0]) <= 1.0


def test_a_robot_without_a_passive_joint_homes_too(furuta: RobotSpec) -> None:
    settings = msgspec.structs.replace(furuta.homing, passive_joint=None)
    homing = homing_for(msgspec.structs.replace(furuta, homing=settings))
    assert homing.update([0.5, 1.0], [0.0, 9.0])[0] < 0.0
    assert settled_after(homing, 15, [0.0, 1.0], [0.0, 9.0])


@pytest.mark.parametrize(("body", "seed"), [("nominal", 1), ("nominal", 2), ("target", 3)])
def test_a_spinning_pendulum_is_home_within_six_seconds(body: str, seed: int) -> None:
    """On the simulated rig, from a wild state. Source of the bound: LEARNING.md § 5.4."""
    robot = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
    spec, env = load_robot_spec(robot), RigEnv(robot, "swing_up", body)
    layout, homing, rng = Layout(spec), homing_for(spec), np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    for tick in range(60):
        action = math.copysign(1.0, math.sin(tick / 3.0 + rng.uniform(0, 0.3)))
        obs, *_ = env.step(np.array([action], dtype=np.float32))
    ticks = 0
    while not homing.settled and ticks < 300:
        arm = float(layout.read(obs, "position:arm"))
        pendulum = math.atan2(
            float(layout.read(obs, "sin:pendulum")), float(layout.read(obs, "cos:pendulum"))
        )
        speeds = [float(layout.read(obs, f"velocity:{name}")) for name in ("arm", "pendulum")]
        obs, *_ = env.step(homing.update([arm, pendulum], speeds))
        ticks += 1
    assert homing.settled, f"{arm:.2f} rad, {pendulum:.2f} rad, {speeds}"
    assert ticks > 20


@pytest.mark.parametrize("spin_rad_s", [-40.0, -28.0, 16.0, 33.0, 55.0])
@pytest.mark.parametrize("body", ["nominal", "target"])
def test_a_fast_spin_is_braked_and_not_fed(body: str, spin_rad_s: float) -> None:
    """A speed reference alone fed it for ever (ADR 7)."""
    assert ticks_to_settle(body, [0.3, 1.0], [0.0, spin_rad_s]) < 250


@pytest.mark.parametrize("arm_rad", [-1.5, 0.0, 0.3])
@pytest.mark.parametrize("body", ["nominal", "target"])
def test_a_pendulum_left_standing_upright_comes_home_too(body: str, arm_rad: float) -> None:
    """Friction can hold it there; waiting for it to fall has taken 18 s of a real-time run."""
    assert ticks_to_settle(body, [arm_rad, 0.0], [0.0, 0.0]) < 200


def ticks_to_settle(body: str, position_rad: list[float], speed_rad_s: list[float]) -> int:
    """Ticks the real controller needs on the simulated rig; 250 (5 s) is where it stops looking."""
    robot = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
    spec, plant = load_robot_spec(robot), load_plant(robot, body, seed=1)
    plant._data.qpos[:], plant._data.qvel[:] = position_rad, speed_rad_s
    homing, full_a = homing_for(spec), spec.action.current_max_a
    previous, speed, ticks = plant.position_rad(), speed_rad_s, 0
    while not homing.settled and ticks < 250:
        position = plant.position_rad()
        if ticks > 0:
            speed = [(now - then) * 50.0 for now, then in zip(position, previous, strict=True)]
        plant.command([full_a * float(homing.update(position, speed)[0])])
        plant.advance(20)
        previous, ticks = position, ticks + 1
    return ticks
