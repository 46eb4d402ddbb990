from pathlib import Path

import gymnasium
import numpy as np
import pytest

from protocol.errors import ConfigError
from protocol.robot_spec import Body, load_robot_spec
from sim_harness.env import RigEnv
from sim_harness.gap import SMALLEST_SHARE, stretched

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
SPEC = load_robot_spec(ROBOT)
NOMINAL, TARGET = SPEC.body("nominal"), SPEC.body("target")
PARAMETERS = Body.__struct_fields__


def motion(**arguments: object) -> np.ndarray:
    """What the rig answers to a fixed series of actions."""
    env = RigEnv(ROBOT, "swing_up", **arguments)
    rows = [env.reset(seed=4)[0]]
    rows += [env.step(np.array([np.sin(0.4 * tick)], np.float32))[0] for tick in range(40)]
    return np.array(rows)


def test_gap_0_is_nominal_and_gap_1_the_body_to_the_last_bit():
    assert stretched(NOMINAL, TARGET, 0.0) == NOMINAL
    assert stretched(NOMINAL, TARGET, 1.0) == TARGET


@pytest.mark.parametrize("gap", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_moves_in_proportion(gap, name):
    nominal, target = getattr(NOMINAL, name), getattr(TARGET, name)
    moved = getattr(stretched(NOMINAL, TARGET, gap), name)
    assert moved == pytest.approx(nominal + gap * (target - nominal))


def test_the_delay_goes_along_in_whole_milliseconds():
    delays_ms = [
        stretched(NOMINAL, TARGET, gap).actuation_delay_ms for gap in (0.0, 0.52, 1.0, 4.0)
    ]
    assert delays_ms == [5, 15, 25, 85]
    assert all(isinstance(delay_ms, int) for delay_ms in delays_ms)


def test_a_parameter_that_would_cross_zero_stops_before_it():
    far = stretched(NOMINAL, TARGET, 9.5)  # kt: 0.370 - 9.5 × 0.046 < 0
    assert far.motor_torque_constant_nm_a == SMALLEST_SHARE * NOMINAL.motor_torque_constant_nm_a
    assert far.pendulum_length_m > TARGET.pendulum_length_m


@pytest.mark.parametrize("gap", [-0.1, np.nan, np.inf])
def test_a_gap_that_is_no_distance_is_refused(gap):
    with pytest.raises(ConfigError, match="gap is"):
        stretched(NOMINAL, TARGET, gap)


def test_a_gap_no_plant_can_have_is_refused_by_the_parameter():
    with pytest.raises(ConfigError, match="actuation_delay_ms"):
        stretched(NOMINAL, TARGET, 50.0)


def test_the_rig_moves_as_its_gap_says():
    np.testing.assert_array_equal(motion(body="target", gap=0.0), motion(body="nominal"))
    np.testing.assert_array_equal(motion(body="target", gap=1.0), motion(body="target"))
    apart = [np.abs(motion(body="target", gap=gap) - motion()).mean() for gap in (0.25, 1.0)]
    assert 0.0 < apart[0] < apart[1]


def test_make_passes_the_gap_through():
    arguments = {"robot": ROBOT, "task": "swing_up", "body": "target", "gap": -1.0}
    with pytest.raises(ConfigError, match="gap is -1"):
        gymnasium.make("sim_harness.registration:wombet/Rig-v0", **arguments)
