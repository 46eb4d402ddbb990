"""Does a walker know how fast it goes over ground, from its legs alone?"""

from __future__ import annotations

import math

import msgspec
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_quadruped import QUADRUPED, load_quadruped, trot

from protocol.leg_odometry import LegOdometry
from protocol.observation import LEVEL, Layout
from protocol.robot_checks import problems
from protocol.robot_spec import Legs
from sim_harness.env import RigEnv
from sim_harness.model import compile_model
from sim_harness.plant import Plant

SPEC = load_quadruped()
STANCE = list(SPEC.homing.home_rad)
STILL = [0.0] * 12
LONG_S = 1e9
"""So long since the last reading that nothing is smoothed."""
FEET = ("front_left_foot", "front_right_foot", "rear_left_foot", "rear_right_foot")

NOMINAL = SPEC.body("nominal")
PLANT = Plant(SPEC, NOMINAL, compile_model(SPEC, NOMINAL, QUADRUPED.parent), 0)

angles = st.floats(-0.5, 0.5)


def odometry() -> LegOdometry:
    assert isinstance(SPEC.legs, Legs)
    return LegOdometry(SPEC, SPEC.legs)


def speed(position: list[float], velocity: list[float], inertial=LEVEL) -> list[float]:
    estimate = odometry()
    estimate.update(position, velocity, inertial, LONG_S)
    return estimate.speed_m_s


def swung(rate_rad_s: float) -> list[float]:
    """Speeds of the joints when every hip turns like this, its foot on the ground."""
    return [0.0, rate_rad_s, 0.0] * 4


def test_who_stands_still_does_not_move() -> None:
    assert speed(STANCE, STILL) == pytest.approx([0.0, 0.0], abs=1e-12)


def test_a_foot_that_goes_back_takes_the_body_ahead() -> None:
    """Straight legs of 0.2 m on balls of 12 mm: 1 rad/s at the hips is 0.212 m/s."""
    assert speed([0.0] * 12, swung(1.0)) == pytest.approx([0.212, 0.0], abs=1e-6)


def test_a_roll_of_all_legs_moves_it_sideways() -> None:
    sideways = speed([0.0] * 12, [1.0, 0.0, 0.0] * 4)
    assert sideways[0] == pytest.approx(0.0, abs=1e-9)
    assert abs(sideways[1]) == pytest.approx(0.212, abs=1e-6)


def test_a_body_that_sways_over_its_feet_moves_too() -> None:
    """Stiff straight legs: pitching forward about y by 1 rad/s moves the body ahead."""
    pitching = (0.0, 0.0, -1.0, 0.0, 1.0, 0.0)
    assert speed([0.0] * 12, STILL, pitching)[0] == pytest.approx(0.212, abs=1e-6)


def test_feet_in_the_air_do_not_count() -> None:
    """One diagonal is drawn up by 2 cm and swings ahead; the other carries the body."""
    position, velocity = list(STANCE), list(STILL)
    for leg in (1, 2):
        position[3 * leg + 2] -= 0.3
        velocity[3 * leg + 1] = -3.0
    for leg in (0, 3):
        velocity[3 * leg + 1] = 1.0
    carried = speed(STANCE, swung(1.0))
    assert speed(position, velocity) == pytest.approx(carried, abs=0.005)


def test_the_estimate_is_smoothed_over_some_ticks() -> None:
    estimate = odometry()
    for _ in range(3):
        estimate.update(STANCE, swung(1.0), LEVEL, 0.02)
    assert 0.2 < estimate.speed_m_s[0] / speed(STANCE, swung(1.0))[0] < 0.8
    estimate.reset()
    assert estimate.speed_m_s == [0.0, 0.0]


@settings(max_examples=25, deadline=None)
@given(st.lists(angles, min_size=12, max_size=12), angles, angles)
def test_the_feet_are_where_the_simulated_body_has_them(offsets, roll, pitch) -> None:
    """And they move as MuJoCo says: forward kinematics and its derivative, in any attitude."""
    model, data = PLANT._model, PLANT._data
    position = [stance + offset for stance, offset in zip(STANCE, offsets, strict=True)]
    data.qpos[:7] = [0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0]
    data.qpos[7:], data.qvel[:] = position, 0.0
    data.qvel[6:] = offsets
    mujoco.mj_forward(model, data)
    down = np.array([math.sin(pitch), math.sin(roll), -1.0])
    down /= np.linalg.norm(down)
    for leg, name in zip(odometry()._legs, FEET, strict=True):
        radius_m = leg.foot_radius_m
        foot = leg.foot(position, offsets, (*down, 0.0, 0.0, 0.0))
        centre = data.geom(name).xpos - data.body("trunk").xpos
        np.testing.assert_allclose(foot.at, centre + radius_m * down, atol=1e-9)
        spatial = np.zeros(6)
        kind, number = mujoco.mjtObj.mjOBJ_GEOM, model.geom(name).id
        mujoco.mj_objectVelocity(model, data, kind, number, spatial, 0)
        rolling = np.cross(spatial[:3], radius_m * down)
        np.testing.assert_allclose(foot.moves, spatial[3:] + rolling, atol=1e-9)


def test_it_follows_a_gait_of_the_simulated_walker() -> None:
    """Feet that slip and are dragged make it wrong, but not blind. Source: ADR 17."""
    env, layout = RigEnv(QUADRUPED, "walk"), Layout(SPEC)
    env.reset(seed=0)
    data, pairs = env._plant._data, []
    for tick in range(100):
        before_m = data.qpos[0]
        obs, *_ = env.step(trot(tick / 25))
        pairs.append((layout.read(obs, "speed:x"), (data.qpos[0] - before_m) * 25))
    estimated, true = np.array(pairs[25:]).T
    assert np.corrcoef(estimated, true)[0, 1] > 0.6
    assert abs(estimated.mean() - true.mean()) < 0.1
    assert true.mean() < -0.1


def test_legs_that_do_not_fit_their_joints_are_refused() -> None:
    legs = msgspec.structs.replace(SPEC.legs, names=["front_left"], hip_m=[])
    found = "; ".join(problems(msgspec.structs.replace(SPEC, legs=legs)))
    assert "legs.hip_m needs 1 pairs" in found
