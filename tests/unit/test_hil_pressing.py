"""Motors that drive a joint towards its end stop, by hand-made truths."""

from __future__ import annotations

import numpy as np
import pytest
from made_rig import ROBOT

from protocol.robot_spec import load_robot_spec
from sim_harness.hil.pressing import MARGIN_SHARE, pressed_ms
from sim_harness.hil.truth import SAMPLE_NS, Truth

SPEC = load_robot_spec(ROBOT.with_name("arm5.toml"))
SAMPLES, PAN, ROLL = 500, 0, 4
MAX_NM = SPEC.safety.effort_max_nm
NEAR_RAD = MARGIN_SHARE * SPEC.safety.position_margin_rad


def truth(*stretches: tuple[int, slice, float, float]) -> Truth:
    """Of each: a joint, when, by how much it is beyond its upper limit, and the torque on it."""
    position, torque = (np.zeros((SAMPLES, len(SPEC.joints))) for _ in range(2))
    for joint, when, beyond_rad, torque_nm in stretches:
        side = SPEC.joints[joint].position_max_rad
        position[when, joint], torque[when, joint] = side + beyond_rad, torque_nm
    asking = np.ones(SAMPLES, dtype=bool)
    time_s = np.arange(SAMPLES) * SAMPLE_NS * 1e-9
    return Truth(time_s, position, 0.0 * position, torque, torque, asking, [], [], 0)


@pytest.mark.parametrize(
    ("beyond_rad", "torque_nm", "took_ms"),
    [
        (0.01, 0.5 * MAX_NM, 100.0),
        (0.01, -0.5 * MAX_NM, 0.0),
        (0.01, 0.05 * MAX_NM, 0.0),
        (0.01 - NEAR_RAD, 0.5 * MAX_NM, 100.0),
        (-0.01 - NEAR_RAD, 0.5 * MAX_NM, 0.0),
    ],
)
def test_what_counts_is_torque_outwards_near_a_limit(beyond_rad, torque_nm, took_ms):
    assert pressed_ms(truth((PAN, slice(10, 60), beyond_rad, torque_nm)), SPEC) == took_ms


def test_the_lower_end_counts_as_the_upper_one_does():
    upper = truth((PAN, slice(10, 60), 0.0, 0.5 * MAX_NM))
    lower = upper._replace(position_rad=-upper.position_rad, torque_nm=-upper.torque_nm)
    assert pressed_ms(lower, SPEC) == pressed_ms(upper, SPEC) == 100.0


def test_the_longest_stretch_of_one_joint_counts_even_at_the_very_end():
    pushed = 0.5 * MAX_NM
    found = truth((PAN, slice(0, 50), 0.0, pushed), (PAN, slice(60, 90), 0.0, pushed))
    assert pressed_ms(found, SPEC) == 100.0
    found = truth((PAN, slice(0, 50), 0.0, pushed), (ROLL, slice(45, 60), 0.0, pushed))
    assert pressed_ms(found, SPEC) == 100.0
    assert pressed_ms(truth((ROLL, slice(SAMPLES - 5, SAMPLES), 0.0, pushed)), SPEC) == 10.0
