"""Do unit actions become the goals the envelope allows, in both modes, and come back truthfully?"""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_arm import load_arm
from made_records import ROBOT_FILE

from protocol.actuation import Motor, PositionMotor, motor_of
from protocol.envelope import Limited
from protocol.robot_spec import PositionAction, RobotSpec, load_robot_spec
from protocol.sts3215 import RAD_PER_COUNT

SPEC = load_arm()
PAN, LIFT = SPEC.joints[0], SPEC.joints[1]
STEP_RAD = 0.03
LEAD_RAD = 2.0 / 18.6
COUNT = RAD_PER_COUNT
anything = st.floats(allow_nan=True, allow_infinity=True)


def placed(centre_rad: float = 0.2, range_rad: float = 0.5) -> RobotSpec:
    """The arm with actions that are places around a centre."""
    action = msgspec.structs.replace(
        SPEC.action, centre_rad=[centre_rad] * 5, range_rad=[range_rad] * 5
    )
    return msgspec.structs.replace(SPEC, action=action)


def held(spec: RobotSpec, at_rad: float) -> Motor:
    """The first motor, holding its joint at an angle."""
    motor = motor_of(spec, spec.joints[0])
    motor.adopt(round(at_rad / COUNT) * COUNT)
    return motor


def send(motor: Motor, action: float, at_rad: float, rad_s: float = 0.0) -> Limited:
    limited = motor.limit(action, at_rad, rad_s)
    motor.sent()
    return limited


@pytest.mark.parametrize("action", [1.0, 0.5, 0.0, -1.0])
def test_a_unit_action_is_a_step_of_the_goal(action: float) -> None:
    motor = held(SPEC, 0.3)
    assert send(motor, action, 0.3) is Limited.NONE
    assert motor.goal_rad == pytest.approx(0.3 + action * STEP_RAD, abs=COUNT)
    assert motor.applied == pytest.approx(action, abs=COUNT / STEP_RAD)
    assert motor.still == 0.0


def test_the_goal_is_a_whole_count_in_the_motors_direction() -> None:
    motor = motor_of(SPEC, LIFT)
    motor.adopt(0.0)
    send(motor, 1.0, 0.0)
    assert motor.count == round(-STEP_RAD / COUNT)
    assert motor.goal == motor.count * COUNT


def test_a_gear_turns_the_goal_and_an_offset_shifts_it() -> None:
    geared = msgspec.structs.replace(LIFT, gear=3.0, sign=-1, offset_rad=0.25)
    spec = msgspec.structs.replace(SPEC, joints=[PAN, geared, *SPEC.joints[2:]])
    motor = motor_of(spec, geared)
    assert motor.goal_rad == pytest.approx(0.0, abs=COUNT)
    motor.hold(0.5)
    assert motor.goal == pytest.approx(-3.0 * 0.25, abs=COUNT)
    assert motor.goal_rad == pytest.approx(0.5, abs=COUNT)
    motor.adopt(-3.0)
    assert motor.goal_rad == pytest.approx(1.25, abs=COUNT)
    assert motor.applied == 0.0  # nobody asked for it
    send(motor, 1.0, 1.25)
    assert motor.goal == pytest.approx(-3.0 * (1.0 + STEP_RAD), abs=COUNT)
    assert motor.goal_rad == pytest.approx(1.25 + STEP_RAD, abs=COUNT)


def test_steps_add_up_without_drift() -> None:
    motor = held(SPEC, 0.0)
    for _ in range(100):
        send(motor, 0.01, motor.goal_rad)  # less than half a count: nothing moves
    assert motor.goal_rad == 0.0
    for _ in range(10):
        send(motor, 0.5, motor.goal_rad)
    assert motor.goal_rad == pytest.approx(0.15, abs=10 * COUNT)


def test_an_action_beyond_one_is_cut_at_a_full_step() -> None:
    motor = held(SPEC, 0.0)
    send(motor, 7.0, 0.0)
    assert motor.goal_rad == pytest.approx(STEP_RAD, abs=COUNT)


def test_a_blocked_joint_is_pushed_with_the_allowed_effort_and_no_more() -> None:
    motor = held(SPEC, 0.0)
    reasons = [send(motor, 1.0, 0.0) for _ in range(10)]
    assert motor.goal_rad == pytest.approx(LEAD_RAD, abs=COUNT)
    assert reasons[-1] == Limited.EFFORT
    assert motor.applied == pytest.approx(0.0, abs=0.1)


def test_a_goal_moves_as_fast_as_the_effort_may_rise() -> None:
    slow = msgspec.structs.replace(SPEC.safety, effort_rate_max_nm_s=9.3)  # 0.01 rad per tick
    motor = held(msgspec.structs.replace(SPEC, safety=slow), 0.0)
    assert send(motor, 1.0, 0.0) is Limited.RATE
    assert motor.goal_rad == pytest.approx(0.01, abs=COUNT)


def test_a_joint_that_is_too_fast_is_not_driven_on() -> None:
    motor = held(SPEC, 0.0)
    assert send(motor, 1.0, 0.0, rad_s=3.1) is Limited.VELOCITY
    assert motor.goal_rad == 0.0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_beyond_a_soft_limit_the_goal_is_called_back(side: float) -> None:
    soft_rad = PAN.position_max_rad - SPEC.safety.position_margin_rad
    motor = held(SPEC, side * (soft_rad + 0.05))
    assert send(motor, side, side * (soft_rad + 0.05)) & Limited.POSITION
    assert side * motor.goal_rad <= soft_rad + COUNT


@pytest.mark.parametrize("action", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("spec", [SPEC, placed()], ids=["step", "place"])
def test_nonsense_holds_the_goal(spec: RobotSpec, action: float) -> None:
    motor = held(spec, 0.3)
    before = motor.goal_rad
    assert send(motor, action, 0.31) is Limited.NOT_FINITE
    assert motor.goal_rad == before


def test_a_place_is_the_centre_and_a_share_of_the_range() -> None:
    motor = held(placed(), 0.3)
    assert send(motor, 0.25, 0.3) is Limited.NONE
    assert motor.goal_rad == pytest.approx(0.325, abs=COUNT)
    assert motor.applied == motor.still == pytest.approx(0.25, abs=COUNT / 0.5)


def test_asking_to_be_still_keeps_a_place_to_the_count() -> None:
    motor = held(placed(), 0.3)
    send(motor, 0.21, 0.3)
    before = motor.count
    for _ in range(5):
        send(motor, motor.still, 0.27)
        assert motor.count == before


def test_from_outside_the_range_a_goal_moves_inwards_only() -> None:
    motor = held(placed(), 0.9)  # the range ends at 0.7
    assert motor.applied == 1.0
    assert motor.still == pytest.approx(1.4, abs=0.01)
    send(motor, 3.0, 0.9)
    assert motor.goal_rad == pytest.approx(0.9, abs=COUNT)
    send(motor, 1.0, 0.9)
    assert 0.7 < motor.goal_rad < 0.9
    assert motor.applied == 1.0


@given(st.lists(st.tuples(anything, st.floats(-1.9, 1.9), st.floats(-9.0, 9.0)), max_size=30))
@settings(max_examples=50, deadline=None)
@pytest.mark.parametrize("spec", [SPEC, placed()], ids=["step", "place"])
def test_whatever_is_asked_the_goal_stays_near_the_joint_and_the_action_a_unit(
    spec: RobotSpec, asked: list[tuple[float, float, float]]
) -> None:
    motor = held(spec, 0.0)
    for action, at_rad, rad_s in asked:
        limited = send(motor, action, at_rad, rad_s)
        assert math.isfinite(motor.goal)
        assert -1.0 <= motor.applied <= 1.0
        if not limited & Limited.NOT_FINITE:
            assert abs(motor.goal_rad - at_rad) <= LEAD_RAD + COUNT


def test_the_mode_of_the_robot_file_decides() -> None:
    assert isinstance(SPEC.action, PositionAction)
    assert isinstance(motor_of(SPEC, PAN), PositionMotor)


def test_a_motor_that_pushes_holds_a_place_by_pushing_no_more() -> None:
    furuta = load_robot_spec(ROBOT_FILE)
    motor = motor_of(furuta, furuta.joints[0])
    send(motor, 0.05, 0.0)
    assert motor.count != 0
    motor.hold(0.7)
    assert (motor.goal, motor.count, motor.applied) == (0.0, 0, 0.0)
