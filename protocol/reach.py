"""The reaching task of a five-joint arm: where its tip is, and what that is worth.

Pure functions of arrays on the array API, so that the same code judges numpy arrays on the robot
and torch tensors in a planner.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace
from msgspec import UNSET

from protocol.errors import ConfigError
from protocol.observation import Layout
from protocol.outcome import Judge, Outcome
from protocol.robot_spec import Arm, RobotSpec, Task

JOINTS = ("pan", "lift", "elbow", "flex")
"""What moves the tip; a fifth joint turns the hand about its own axis."""
FAR_M, NEAR_M = 0.4, 0.03
"""Distances over which the reward fades: to see the way from afar, and to end it exactly."""
TABLE_M = 0.015
"""A tip below this height has hit the table."""


def tip_m(
    arm: Arm, pan: Any, lift: Any, elbow: Any, flex: Any, xp: Any = None
) -> tuple[Any, Any, Any]:
    """Forward kinematics: x ahead, y to the left and z above the foot of the base, in m.

    Args:
        arm: lengths.
        pan: angle about the vertical, rad; all of one shape.
        lift: of the upper arm from the vertical, forwards.
        elbow: of the forearm from a right angle, downwards.
        flex: of the hand from the forearm, downwards.
        xp: their array namespace; plain floats cannot tell it.
    """
    xp = array_namespace(pan) if xp is None else xp
    forearm = lift + elbow + 0.5 * math.pi
    hand = forearm + flex
    ahead = (
        arm.upper_arm_m * xp.sin(lift) + arm.forearm_m * xp.sin(forearm) + arm.hand_m * xp.sin(hand)
    )
    above = (
        arm.shoulder_height_m
        + arm.upper_arm_m * xp.cos(lift)
        + arm.forearm_m * xp.cos(forearm)
        + arm.hand_m * xp.cos(hand)
    )
    return ahead * xp.cos(pan), ahead * xp.sin(pan), above


class Tip:
    """Where the tip is, by an observation (..., O).

    Raises:
        ConfigError: the robot has no ``arm`` table, or its observation lacks an angle.
    """

    def __init__(self, spec: RobotSpec) -> None:
        if spec.arm is UNSET:
            raise ConfigError("a task of the tip needs an [arm] table")
        layout = Layout(spec)
        self._arm = spec.arm
        self._angles = [layout.reader(f"position:{name}") for name in JOINTS]

    def __call__(self, obs: Any) -> tuple[Any, Any, Any]:
        """x, y and z, each (...), in m."""
        pan, lift, elbow, flex = (angle(obs) for angle in self._angles)
        return tip_m(self._arm, pan, lift, elbow, flex, array_namespace(obs))


def reach(spec: RobotSpec, task: Task) -> Judge:
    """Bring the tip to the goal and keep it there, without jerks and without hitting the table.

    ``r = (0.4 (1 - d/0.4)₊ + 0.6 e^(-(d/0.03)²)) · (1 - 0.15 Δa²)``, where Δa² is the mean squared
    change of the action, at most 1. A tip on the table earns nothing and ends the episode.

    Raises:
        ConfigError: no ``arm`` table, no goal, or an observation that lacks a term it reads.

    Source: our own; a product of bounded terms, as ``swing_up``.
    """
    if task.goal_m is UNSET:
        raise ConfigError("reward 'reach' needs the task's goal_m")
    tip, layout, (goal_x, goal_y, goal_z) = Tip(spec), Layout(spec), task.goal_m
    last = [layout.reader(f"applied:{joint.name}:1") for joint in spec.actuated]

    def judge(obs: Any, applied: Any, following: Any) -> Outcome:
        xp = array_namespace(following)
        x, y, z = tip(following)
        away = xp.sqrt((x - goal_x) ** 2 + (y - goal_y) ** 2 + (z - goal_z) ** 2)
        changes = [(applied[..., i] - before(obs)) ** 2 for i, before in enumerate(last)]
        change = sum(changes) / len(changes)
        seen = xp.clip(1.0 - away / FAR_M, 0.0, 1.0)
        close = 0.4 * seen + 0.6 * xp.exp(-((away / NEAR_M) ** 2))
        smooth = 1.0 - 0.15 * xp.clip(change, 0.0, 1.0)
        crashed = xp.where(z < TABLE_M, xp.ones_like(z), xp.zeros_like(z))
        return Outcome(close * smooth * (1.0 - crashed), crashed)

    return judge
