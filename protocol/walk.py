"""The walking task of a quadruped: what a step is worth, and when it has fallen.

Pure functions of arrays on the array API, so that the same code judges numpy arrays in a simulator,
plain floats on a robot and torch tensors in a planner. A robot's columns are where its file says
(:func:`walk_of`); those of the benchmark's walker, which knows its true speed, are here
(:func:`walk`). ADR 17.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace
from msgspec import UNSET

from protocol.errors import ConfigError
from protocol.observation import Layout
from protocol.outcome import Judge, Outcome
from protocol.robot_spec import RobotSpec, Task

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
GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)


def commanded_m_s(task: Task, episode: int) -> float:
    """Speed that an episode asks for; 0 where the task names none.

    Multiples of the golden ratio fill the range evenly, whenever one stops counting.
    """
    if task.speeds_m_s is UNSET:
        return 0.0
    slowest, fastest = task.speeds_m_s
    return slowest + (fastest - slowest) * (GOLDEN * episode % 1.0)


def walk_of(spec: RobotSpec, task: Task) -> Judge:
    """The same task for a robot, as it sees itself: its speed is leg odometry.

    Raises:
        ConfigError: the task names no speeds, or the observation lacks a term that is read.
    """
    if task.speeds_m_s is UNSET:
        raise ConfigError("reward 'walk' needs the task's speeds_m_s")
    layout = Layout(spec)
    ahead, left, command = map(layout.reader, ("speed:x", "speed:y", "command:speed"))
    gravity, yaw = layout.reader("gravity:z"), layout.reader("gyro:z")
    last = [layout.reader(f"applied:{joint.name}:1") for joint in spec.actuated]

    def judge(obs: Any, applied: Any, following: Any) -> Outcome:
        changes = [(applied[..., i] - before(obs)) ** 2 for i, before in enumerate(last)]
        return _judged(
            array_namespace(following),
            command(following),
            (ahead(following), left(following), yaw(following)),
            -gravity(following),
            sum(changes) / len(changes),
        )

    return judge


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
    ahead, left = (
        following[..., column] / SPEED_SCALE for column in range(SPEED.start, SPEED.stop)
    )
    yaw_rad_s = following[..., TURN_RATE.stop - 1] / TURN_RATE_SCALE
    return _judged(
        xp,
        following[..., COMMAND] / SPEED_SCALE,
        (ahead, left, yaw_rad_s),
        -following[..., GRAVITY.stop - 1],
        xp.mean((applied - obs[..., LAST_ACTION]) ** 2, axis=-1),
    )


def _judged(xp: Any, command: Any, motion: tuple[Any, Any, Any], down: Any, change: Any) -> Outcome:
    """See :func:`walk`.

    Args:
        xp: array namespace of the others, each (...).
        command: speed asked for, m/s.
        motion: ahead and to the left, m/s, and yaw rate, rad/s.
        down: share of gravity that the body's z axis points against.
        change: mean squared change of the action.
    """
    ahead, left, yaw_rad_s = motion
    tracking = xp.clip(1.0 - xp.abs(ahead - command) / (2.0 * command), 0.0, 1.0) ** 4
    upright = xp.clip(down, 0.0, 1.0) ** 2
    straight = xp.exp(-((yaw_rad_s / STRAIGHT_RAD_S) ** 2) - (left / STRAIGHT_M_S) ** 2)
    smooth = 1.0 - 0.3 * xp.clip(change, 0.0, 1.0)
    fallen = xp.where(down < math.cos(FALLEN_RAD), xp.ones_like(down), xp.zeros_like(down))
    return Outcome(tracking * upright * straight * smooth, fallen)
