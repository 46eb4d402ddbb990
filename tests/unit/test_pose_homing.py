"""Does the arm come home slowly, from anywhere, and know when it is there?"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_arm import ARM, load_arm
from made_quadruped import load_quadruped

from onboard.homing import Homing, homing_for
from onboard.pose_homing import PoseHoming
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec
from sim_harness.env import RigEnv

SPEC = load_arm()
HOME = SPEC.homing.home_rad
STILL = [0.0] * 5


def placed() -> RobotSpec:
    """The arm with actions that are places."""
    action = msgspec.structs.replace(SPEC.action, centre_rad=[0.0] * 5, range_rad=[0.5] * 5)
    return msgspec.structs.replace(SPEC, action=action)


def settled_after(homing: Homing, ticks: int, position: list[float], speed: list[float]) -> bool:
    for _ in range(ticks):
        homing.update(position, speed)
    return homing.settled


def test_it_settles_only_after_being_still_for_long_enough() -> None:
    homing = homing_for(SPEC)
    assert not settled_after(homing, 14, HOME, STILL)
    assert settled_after(homing, 1, HOME, STILL)
    homing.reset()
    assert not homing.settled


def test_that_the_body_lay_is_forgotten_only_at_home() -> None:
    walker = load_quadruped()
    homing, home = homing_for(walker), walker.homing.home_rad
    homing.update(home, [0.0] * 12, tilt_rad=0.36)
    homing.reset()
    assert homing.lay, "a start over is no proof that it stands by itself"
    for _ in range(15):
        homing.update(home, [0.0] * 12, tilt_rad=0.34)
    assert homing.settled
    assert homing.lay
    homing.reset()
    assert not homing.lay


@pytest.mark.parametrize("joint", range(5))
def test_one_restless_joint_keeps_it_going(joint: int) -> None:
    away, moving = list(HOME), list(STILL)
    away[joint] += 0.031
    moving[joint] = 0.16
    assert not settled_after(homing_for(SPEC), 50, away, STILL)
    assert not settled_after(homing_for(SPEC), 50, HOME, moving)


def test_a_step_is_never_faster_than_homing_may_be() -> None:
    far = [home + 1.0 for home in HOME]
    action = homing_for(SPEC).update(far, STILL)
    assert action.tolist() == pytest.approx([-0.8 * 0.02 / 0.03] * 5)


def test_close_to_home_it_slows_down() -> None:
    near = [home - 0.02 for home in HOME]
    assert homing_for(SPEC).update(near, STILL).tolist() == pytest.approx([0.02 * 0.06 / 0.03] * 5)


def test_at_home_it_does_not_hunt() -> None:
    nearly = [home + 0.014 for home in HOME]
    assert homing_for(SPEC).update(nearly, STILL).tolist() == [0.0] * 5


def test_a_reference_walks_from_the_measured_pose_where_actions_are_places() -> None:
    homing = homing_for(placed())
    assert isinstance(homing, PoseHoming)
    start = [1.0] * 5
    seen = [homing.update(start, STILL).copy() for _ in range(200)]
    assert seen[0].tolist() == pytest.approx([(1.0 - 0.016) / 0.5] * 5)
    assert np.abs(np.diff(seen, axis=0)).max() <= 0.016 / 0.5 + 1e-6
    assert seen[-1].tolist() == pytest.approx([home / 0.5 for home in HOME], abs=0.01)
    homing.reset()
    assert homing.update(STILL, STILL).tolist() == pytest.approx(
        [np.clip(0.06 * home, -0.016, 0.016) / 0.5 for home in HOME]
    )


@pytest.mark.parametrize("body", ["nominal", "target"])
def test_the_simulated_arm_comes_home_against_gravity_friction_and_play(body: str) -> None:
    env, layout, homing = RigEnv(ARM, "reach", body), Layout(SPEC), homing_for(SPEC)
    obs, _ = env.reset(seed=2)
    names = [joint.name for joint in SPEC.joints]
    for tick in range(60):  # somewhere else
        obs, *_ = env.step(np.sin(np.arange(5) + 0.05 * tick).astype(np.float32))
    ticks = 0
    while not homing.settled and ticks < 250:
        position = [float(layout.read(obs, f"position:{name}")) for name in names]
        speed = [float(layout.read(obs, f"velocity:{name}")) for name in names]
        assert max(map(abs, speed)) < 1.7
        obs, *_ = env.step(homing.update(position, speed))
        ticks += 1
    assert homing.settled, f"{position} at {speed}"
    assert ticks > 20
