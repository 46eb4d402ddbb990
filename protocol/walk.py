"""The walking task of a quadruped: columns of its observation, reward and termination.

Pure functions of arrays on the array API, so that the same code judges numpy arrays in a simulator
and torch tensors in a planner.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from protocol.tasks import Outcome

JOINTS = 12
JOINT_POSITION = slice(0, 12)
"""Angle minus that of the nominal stance, rad."""
JOINT_VELOCITY = slice(12, 24)
"""rad/s, times :data:`JOINT_VELOCITY_SCALE`."""
GRAVITY = slice(24, 27)
"""Unit vector in the body's frame; (0, 0, -1) is upright."""
TURN_RATE = slice(27, 30)
"""Angular velocity in the body's frame, rad/s, times :data:`TURN_RATE_SCALE`."""
SPEED = slice(30, 32)
"""Ground speed forward and to the left of the heading, m/s, times :data:`SPEED_SCALE`.

Without it neither reward nor progress can be seen in an observation; a robot estimates it from its
legs and its IMU.
"""
COMMAND = 32
"""Forward speed asked for, m/s, times :data:`SPEED_SCALE`."""
LAST_ACTION = slice(33, 45)
"""The applied action of the tick before, in [-1, 1]."""
SIZE = 45

JOINT_VELOCITY_SCALE = 0.1
TURN_RATE_SCALE = 0.25
SPEED_SCALE = 2.0

FALLEN_RAD = 0.8
STRAIGHT_RAD_S = 1.5
STRAIGHT_M_S = 0.2


def walk(obs: Any, applied: Any, following: Any) -> Outcome:
    """Walk forward at the commanded speed v*: level, straight ahead, without jerks.

    ``r = (1 - |v - v*| / 2v*)₊⁴ · (-g_z)₊² · e^(-(ω_z / 1.5)² - (v_y / 0.2)²) · (1 - 0.3 Δa²)``,
    where Δa² is the mean squared change of the action, at most 1. Standing still earns a sixteenth,
    falling (a tilt of more than 0.8 rad) ends the episode.

    Args:
        obs: (..., O) before the step.
        applied: (..., A) in [-1, 1].
        following: (..., O) after it.

    Source: the linear tolerance around the commanded speed, arXiv 2208.07860 (a walk in the park);
    bounded product of terms, as ``swing_up``.
    """
    xp = array_namespace(following)
    command = following[..., COMMAND] / SPEED_SCALE
    forward, left = (
        following[..., column] / SPEED_SCALE for column in range(SPEED.start, SPEED.stop)
    )
    down = -following[..., GRAVITY.stop - 1]
    yaw_rad_s = following[..., TURN_RATE.stop - 1] / TURN_RATE_SCALE
    change = xp.mean((applied - obs[..., LAST_ACTION]) ** 2, axis=-1)
    tracking = xp.clip(1.0 - xp.abs(forward - command) / (2.0 * command), 0.0, 1.0) ** 4
    upright = xp.clip(down, 0.0, 1.0) ** 2
    straight = xp.exp(-((yaw_rad_s / STRAIGHT_RAD_S) ** 2) - (left / STRAIGHT_M_S) ** 2)
    smooth = 1.0 - 0.3 * xp.clip(change, 0.0, 1.0)
    fallen = xp.where(down < math.cos(FALLEN_RAD), xp.ones_like(down), xp.zeros_like(down))
    return Outcome(tracking * upright * straight * smooth, fallen)
