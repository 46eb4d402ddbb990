"""How fast a walker goes over ground, as it can know by itself: from its legs and its IMU.

A foot that carries does not slide, so the body moves as the foot seems to move the other way. Which
feet carry is not measured; the lowest ones do. On a slippery floor the estimate is wrong, and the
robot cannot tell. Source: own; the idea as in Lin, Komsuoglu and Koditschek, "A leg configuration
measurement system for full-body pose estimates in a hexapod robot", IEEE T-RO 21(3), 2005.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from protocol.body_checks import LEG_JOINTS
from protocol.robot_spec import Legs, RobotSpec

LOWEST_M = 0.002
"""Feet that are higher than the lowest by this much count for a third of it."""
SMOOTHING_S = 0.06
"""Time constant of the estimate: encoders count, and feet hit the ground."""
FLAT = 1e-3
"""A body that stands so nearly on its nose has no heading: length of its x axis over ground."""

Vector = tuple[float, float, float]


class Foot(NamedTuple):
    """Where a foot's lowest point is in the body's frame, m, and how it moves there, m/s."""

    at: Vector
    moves: Vector


class Leg(NamedTuple):
    """One leg: lengths in m, with its side's sign, and where its joints stand in the readings."""

    ahead_m: float
    left_m: float
    side_m: float
    thigh_m: float
    shin_m: float
    foot_radius_m: float
    joints: tuple[int, int, int]

    def foot(
        self,
        position_rad: Sequence[float],
        velocity_rad_s: Sequence[float],
        inertial: Sequence[float],
    ) -> Foot:
        """Forward kinematics of a leg that hangs down with its joints at 0; its foot rolls."""
        roll, pitch, knee = (position_rad[joint] for joint in self.joints)
        roll_s, pitch_s, knee_s = (velocity_rad_s[joint] for joint in self.joints)
        thigh_x, thigh_z = -self.thigh_m * math.sin(pitch), -self.thigh_m * math.cos(pitch)
        shin_x, shin_z = (
            -self.shin_m * math.sin(pitch + knee),
            -self.shin_m * math.cos(pitch + knee),
        )
        ahead, down = thigh_x + shin_x, thigh_z + shin_z
        ahead_s = thigh_z * pitch_s + shin_z * (pitch_s + knee_s)
        down_s = -thigh_x * pitch_s - shin_x * (pitch_s + knee_s)
        cos, sin = math.cos(roll), math.sin(roll)
        left, up = self.side_m * cos - down * sin, self.side_m * sin + down * cos
        centre = (self.ahead_m + ahead, self.left_m + left, up)
        moves = (ahead_s, -up * roll_s - down_s * sin, left * roll_s + down_s * cos)
        shin_s = pitch_s + knee_s
        radius_m = self.foot_radius_m
        sole = (radius_m * inertial[0], radius_m * inertial[1], radius_m * inertial[2])
        rolls = _cross((roll_s, shin_s * cos, shin_s * sin), sole)
        return Foot(_sum(centre, sole), _sum(moves, rolls))


class LegOdometry:
    """Ground speed of one robot, tick by tick.

    Attributes:
        speed_m_s: ahead and to the left of its heading; the same list for ever.
    """

    def __init__(self, spec: RobotSpec, legs: Legs) -> None:
        self._legs = [
            Leg(
                ahead_m,
                left_m,
                math.copysign(legs.side_m, left_m),
                legs.thigh_m,
                legs.shin_m,
                legs.foot_radius_m,
                _joints(spec, name),
            )
            for name, (ahead_m, left_m) in zip(legs.names, legs.hip_m, strict=True)
        ]
        self.speed_m_s = [0.0, 0.0]

    def reset(self) -> None:
        """It stands."""
        self.speed_m_s[:] = 0.0, 0.0

    def update(
        self,
        position_rad: Sequence[float],
        velocity_rad_s: Sequence[float],
        inertial: Sequence[float],
        elapsed_s: float,
    ) -> None:
        """One reading.

        Args:
            position_rad: one angle per joint of the robot.
            velocity_rad_s: likewise.
            inertial: (6,) where gravity points (unit vector), and turn rate, rad/s; body's frame.
            elapsed_s: since the last one.
        """
        feet = [leg.foot(position_rad, velocity_rad_s, inertial) for leg in self._legs]
        depths_m = [_dot(foot.at, inertial) for foot in feet]
        deepest_m = max(depths_m)
        shares = [math.exp((depth_m - deepest_m) / LOWEST_M) for depth_m in depths_m]
        ahead, left = _over_ground(_body_velocity(feet, shares, inertial), inertial)
        weight = elapsed_s / (SMOOTHING_S + elapsed_s)
        self.speed_m_s[0] += weight * (ahead - self.speed_m_s[0])
        self.speed_m_s[1] += weight * (left - self.speed_m_s[1])


def _body_velocity(
    feet: Sequence[Foot], shares: Sequence[float], inertial: Sequence[float]
) -> Vector:
    """Of the body in its own frame, m/s, were each foot at rest on the ground; their mean."""
    turn = (inertial[3], inertial[4], inertial[5])
    total, x, y, z = math.fsum(shares), 0.0, 0.0, 0.0
    for foot, share in zip(feet, shares, strict=True):
        moves_x, moves_y, moves_z = _sum(foot.moves, _cross(turn, foot.at))
        x, y, z = x - share * moves_x, y - share * moves_y, z - share * moves_z
    return x / total, y / total, z / total


def _over_ground(velocity: Vector, gravity: Sequence[float]) -> tuple[float, float]:
    """Ahead and to the left of the heading: the body's x axis, laid flat."""
    along = math.sqrt(max(1.0 - gravity[0] ** 2, FLAT**2))
    ahead = (velocity[0] - gravity[0] * _dot(velocity, gravity)) / along
    left = (gravity[1] * velocity[2] - gravity[2] * velocity[1]) / along
    return ahead, left


def _dot(vector: Vector, gravity: Sequence[float]) -> float:
    return vector[0] * gravity[0] + vector[1] * gravity[1] + vector[2] * gravity[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _sum(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _joints(spec: RobotSpec, leg: str) -> tuple[int, int, int]:
    roll, pitch, knee = (spec.joint_index(f"{leg}_{part}") for part in LEG_JOINTS)
    return roll, pitch, knee
