"""The safety envelope: from the effort asked for to the effort allowed. Pure, per joint.

Order matters: finite first (NaN passes min, max and clip), then effort, rate, velocity, position.
The position barrier comes last because a stop ahead outranks a comfortable rate.
"""

from __future__ import annotations

import math
from enum import IntFlag
from typing import NamedTuple

from protocol.robot_spec import Joint, RobotSpec


class Limited(IntFlag):
    """Which rules changed a command; recorded with every step."""

    NONE = 0
    NOT_FINITE = 1
    EFFORT = 2
    RATE = 4
    VELOCITY = 8
    POSITION = 16
    ESTOP = 32
    """Not a rule of the envelope: an emergency stop is latched and zero is sent."""


class JointLimits(NamedTuple):
    """What one joint may do. Efforts in Nm, positions in rad, velocities in rad/s."""

    effort_nm: float
    effort_step_nm: float
    velocity_rad_s: float
    soft_min_rad: float
    soft_max_rad: float
    stiffness_nm_rad: float
    damping_nm_s: float


class Allowed(NamedTuple):
    """The effort that may be sent, and why it differs from what was asked."""

    effort_nm: float
    limited: Limited


def joint_limits(spec: RobotSpec, joint: Joint) -> JointLimits:
    """Limits of ``joint`` from the robot file."""
    safety = spec.safety
    return JointLimits(
        effort_nm=safety.effort_max_nm,
        effort_step_nm=safety.effort_rate_max_nm_s * spec.tick_s,
        velocity_rad_s=joint.velocity_max_rad_s,
        soft_min_rad=joint.position_min_rad + safety.position_margin_rad,
        soft_max_rad=joint.position_max_rad - safety.position_margin_rad,
        stiffness_nm_rad=safety.barrier_stiffness_nm_rad,
        damping_nm_s=safety.barrier_damping_nm_s,
    )


def limit_effort(
    limits: JointLimits,
    asked_nm: float,
    previous_nm: float,
    position_rad: float,
    velocity_rad_s: float,
) -> Allowed:
    """The effort allowed this tick.

    Args:
        limits: of this joint.
        asked_nm: the effort wanted; anything, NaN included.
        previous_nm: the effort sent last tick (finite).
        position_rad: measured this tick.
        velocity_rad_s: measured this tick.

    Returns:
        A finite effort within ``±limits.effort_nm`` and the rules that shaped it. If a number is
        not finite the answer is zero effort.
    """
    if not (
        math.isfinite(asked_nm) and math.isfinite(position_rad) and math.isfinite(velocity_rad_s)
    ):
        return Allowed(0.0, Limited.NOT_FINITE)
    effort = _clamp(asked_nm, -limits.effort_nm, limits.effort_nm)
    limited = Limited.NONE if effort == asked_nm else Limited.EFFORT
    stepped = _clamp(
        effort, previous_nm - limits.effort_step_nm, previous_nm + limits.effort_step_nm
    )
    if stepped != effort:
        limited |= Limited.RATE
    slowed = _limit_velocity(limits, stepped, velocity_rad_s)
    if slowed != stepped:
        limited |= Limited.VELOCITY
    low, high = _barrier(limits, position_rad, velocity_rad_s)
    held = _clamp(slowed, low, high)
    if held != slowed:
        limited |= Limited.POSITION
    return Allowed(_clamp(held, -limits.effort_nm, limits.effort_nm), limited)


def _limit_velocity(limits: JointLimits, effort_nm: float, velocity_rad_s: float) -> float:
    """No effort along a motion that is already too fast."""
    if abs(velocity_rad_s) <= limits.velocity_rad_s or effort_nm * velocity_rad_s <= 0.0:
        return effort_nm
    return 0.0


def _barrier(
    limits: JointLimits, position_rad: float, velocity_rad_s: float
) -> tuple[float, float]:
    """Effort bounds of a spring and damper that starts at a soft limit and only pushes inwards."""
    low, high = -math.inf, math.inf
    if position_rad > limits.soft_max_rad:
        spring = limits.stiffness_nm_rad * (position_rad - limits.soft_max_rad)
        high = min(0.0, -spring - limits.damping_nm_s * velocity_rad_s)
    if position_rad < limits.soft_min_rad:
        spring = limits.stiffness_nm_rad * (limits.soft_min_rad - position_rad)
        low = max(0.0, spring - limits.damping_nm_s * velocity_rad_s)
    return low, high


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
