"""Is the effort that passes always finite, bounded, and pointing away from danger?"""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import Allowed, JointLimits, Limited, joint_limits, limit_effort
from protocol.robot_spec import RobotSpec

LIMITS = JointLimits(
    effort_nm=0.3,
    effort_step_nm=0.6,
    velocity_rad_s=12.0,
    soft_min_rad=-2.2,
    soft_max_rad=2.2,
    stiffness_nm_rad=2.0,
    damping_nm_s=0.05,
)
BAD = (math.nan, math.inf, -math.inf)


def allow(asked: float, previous: float = 0.0, at: float = 0.0, speed: float = 0.0) -> Allowed:
    return limit_effort(LIMITS, asked, previous, at, speed)


def test_a_harmless_command_passes_unchanged() -> None:
    assert allow(0.1) == (0.1, Limited.NONE)
    assert allow(0.3) == (0.3, Limited.NONE)
    assert allow(-0.3) == (-0.3, Limited.NONE)


@pytest.mark.parametrize("bad", BAD)
def test_nothing_that_is_not_finite_passes(bad: float) -> None:
    assert allow(bad) == (0.0, Limited.NOT_FINITE)
    assert allow(0.1, at=bad) == (0.0, Limited.NOT_FINITE)
    assert allow(0.1, speed=bad) == (0.0, Limited.NOT_FINITE)


@pytest.mark.parametrize(("asked", "sent"), [(0.301, 0.3), (9.0, 0.3), (-0.301, -0.3)])
def test_effort_is_capped(asked: float, sent: float) -> None:
    assert allow(asked) == (sent, Limited.EFFORT)


def test_effort_changes_no_faster_than_allowed() -> None:
    slow = LIMITS._replace(effort_step_nm=0.05)
    assert limit_effort(slow, 0.2, 0.0, 0.0, 0.0) == (0.05, Limited.RATE)
    assert limit_effort(slow, -0.2, 0.0, 0.0, 0.0) == (-0.05, Limited.RATE)
    assert limit_effort(slow, 0.05, 0.0, 0.0, 0.0) == (0.05, Limited.NONE)


@pytest.mark.parametrize("speed", [12.0, -12.0])
def test_at_the_speed_limit_anything_goes(speed: float) -> None:
    assert allow(math.copysign(0.1, speed), speed=speed).limited is Limited.NONE


@pytest.mark.parametrize("speed", [12.001, -12.001])
def test_above_the_speed_limit_only_braking_passes(speed: float) -> None:
    assert allow(math.copysign(0.1, speed), speed=speed) == (0.0, Limited.VELOCITY)
    assert allow(-math.copysign(0.1, speed), speed=speed).limited is Limited.NONE
    assert allow(0.0, speed=speed) == (0.0, Limited.NONE)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_beyond_the_soft_limit_the_barrier_pushes_back(side: float) -> None:
    assert allow(side * 0.1, at=side * 2.2).limited is Limited.NONE
    effort, limited = allow(side * 0.1, at=side * 2.25)
    assert limited is Limited.POSITION
    assert effort == pytest.approx(-side * 0.1)
    effort, limited = allow(side * 0.3, at=side * 2.25, speed=side * 4.0)
    assert effort == pytest.approx(-side * 0.3)
    assert limited is Limited.POSITION
    assert allow(-side * 0.3, at=side * 2.25).limited is Limited.NONE


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_barrier_never_pushes_outwards(side: float) -> None:
    """Coming back fast, its damper alone would."""
    effort, _ = allow(side * 0.1, at=side * 2.21, speed=-side * 10.0)
    assert effort == 0.0


def test_every_rule_that_changed_the_command_is_named() -> None:
    slow = LIMITS._replace(effort_step_nm=0.05)
    effort_and_rate = Limited.EFFORT | Limited.RATE
    assert limit_effort(slow, 9.0, 0.0, 0.0, 0.0) == (0.05, effort_and_rate)
    assert limit_effort(slow, 9.0, 0.0, 0.0, 13.0) == (0.0, effort_and_rate | Limited.VELOCITY)
    effort, limited = limit_effort(slow, 9.0, 0.0, 2.25, 13.0)
    assert effort == -LIMITS.effort_nm
    assert limited == effort_and_rate | Limited.VELOCITY | Limited.POSITION
    assert allow(9.0, at=2.25).limited == Limited.EFFORT | Limited.POSITION


@pytest.mark.parametrize("previous", [-0.2, -0.1, 0.0, 0.2])
def test_the_rate_counts_from_the_previous_effort(previous: float) -> None:
    slow = LIMITS._replace(effort_step_nm=0.05)
    assert limit_effort(slow, 0.3, previous, 0.0, 0.0).effort_nm == pytest.approx(previous + 0.05)
    assert limit_effort(slow, previous - 0.05, previous, 0.0, 0.0).limited is Limited.NONE


@pytest.mark.parametrize("speed", [12.001, -12.001])
@pytest.mark.parametrize("effort", [0.3, 0.01, 1e-6])
def test_no_effort_is_too_small_to_be_stopped_above_the_speed_limit(
    speed: float, effort: float
) -> None:
    assert allow(math.copysign(effort, speed), speed=speed) == (0.0, Limited.VELOCITY)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_barrier_is_a_spring_and_a_damper_from_the_soft_limit(side: float) -> None:
    """2 Nm/rad over 0.05 rad, 0.05 Nm·s/rad at 1 rad/s."""
    at = side * 2.25
    assert allow(0.0, at=at) == (pytest.approx(-side * 0.1), Limited.POSITION)
    assert allow(0.0, at=at, speed=side).effort_nm == pytest.approx(-side * 0.15)
    assert allow(0.0, at=at, speed=-side).effort_nm == pytest.approx(-side * 0.05)
    assert allow(0.0, at=side * 2.2) == (0.0, Limited.NONE)


numbers = st.one_of(st.floats(), st.floats(-20.0, 20.0))


@given(numbers, st.floats(-0.3, 0.3), numbers, numbers)
def test_whatever_comes_in_a_bounded_number_comes_out(
    asked: float, previous: float, at: float, speed: float
) -> None:
    effort, limited = allow(asked, previous, at, speed)
    assert abs(effort) <= LIMITS.effort_nm
    assert limited or effort == asked


def test_a_sweep_over_the_corners_keeps_every_rule() -> None:
    """Below, at and above every limit, all together."""
    efforts = (-0.31, -0.3, -0.29, 0.0, 0.29, 0.3, 0.31)
    places = (-2.7, -2.6, -2.21, -2.2, -2.19, 0.0, 2.19, 2.2, 2.21, 2.6, 2.7)
    speeds = (-12.1, -12.0, -11.9, 0.0, 11.9, 12.0, 12.1)
    for asked, at, speed in itertools.product(efforts, places, speeds):
        effort, _ = allow(asked, at=at, speed=speed)
        assert abs(effort) <= 0.3
        assert not (at > 2.2 and effort > 0.0)
        assert not (at < -2.2 and effort < 0.0)
        inside = -2.2 <= at <= 2.2
        assert not (inside and abs(speed) > 12.0 and effort * speed > 0.0)


def test_limits_come_from_the_robot_file(furuta: RobotSpec) -> None:
    limits = joint_limits(furuta, furuta.actuated[0])
    assert limits == pytest.approx((0.296, 0.6, 12.0, -2.2, 2.2, 2.0, 0.05))
