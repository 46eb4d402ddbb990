"""From unit actions to motor goals that the envelope allows, and back to what they amounted to.

Training and robot call the same code. In current mode a unit action is effort. In position mode it
is a place for the node's own position loop to go to; the envelope sees that loop as the spring it
is, so that one set of limits serves both: a goal is never farther from the joint than the effort
allows, moves no faster than the effort may rise, and is called back beyond a soft limit.
"""

from __future__ import annotations

import math
from typing import Protocol

from msgspec import UNSET

from protocol import sts3215, xl330
from protocol.envelope import Allowed, Limited, joint_limits, limit_effort
from protocol.robot_spec import CurrentAction, Joint, PositionAction, RobotSpec

RAD_PER_COUNT = {"dynamixel2": xl330.RAD_PER_COUNT, "feetech": sts3215.RAD_PER_COUNT}
"""What a count of a goal position is, by kind of bus."""


class Motor(Protocol):
    """One actuated joint between unit actions and goals.

    Attributes:
        goal: what :meth:`limit` allows, in whole counts of the motor and in its own direction: A
            in current mode, rad from the encoder's centre in position mode.
        count: the goal that was sent last, in counts.
        unit: of ``count``.
        goal_rad: that goal as an angle of the joint; 0 in current mode.
        applied: the unit action it amounts to, in [-1, 1].
        still: the unit action that asks for no motion; beyond [-1, 1] for a goal out of range.
    """

    goal: float
    count: int
    unit: str
    goal_rad: float
    applied: float
    still: float

    def limit(self, action: float, position_rad: float, velocity_rad_s: float) -> Limited:
        """Set ``goal`` to what is left of ``action``; anything is allowed, NaN included."""
        ...

    def sent(self) -> None:
        """``goal`` is on the wire: the next limits start from it."""

    def adopt(self, goal: float) -> None:
        """``goal`` is in force, although nobody asked for it."""

    def hold(self, angle_rad: float) -> None:
        """The joint is held at this angle; in current mode it is left alone."""


def motor_of(spec: RobotSpec, joint: Joint) -> Motor:
    """The motor of an actuated joint."""
    if isinstance(spec.action, PositionAction):
        return PositionMotor(spec, spec.action, joint)
    return CurrentMotor(spec, spec.action, joint)


class CurrentMotor:
    """Unit action → effort → envelope → whole milliamperes. See :class:`Motor`."""

    unit = "mA"
    goal_rad = still = 0.0

    def __init__(self, spec: RobotSpec, action: CurrentAction, joint: Joint) -> None:
        self._limits = joint_limits(spec, joint)
        self._current_max_a = action.current_max_a
        self._nm_per_a = action.torque_constant_nm_a * joint.gear
        self._sign = joint.sign
        self.adopt(0.0)

    def adopt(self, goal: float) -> None:
        """This current flows."""
        self.goal = goal
        self.sent()

    def hold(self, angle_rad: float) -> None:
        """No current flows."""
        self.adopt(0.0)

    def limit(self, action: float, position_rad: float, velocity_rad_s: float) -> Limited:
        """Current that the envelope allows."""
        allowed = limit_effort(
            self._limits,
            asked_nm=action * self._current_max_a * self._nm_per_a,
            previous_nm=self._effort_nm,
            position_rad=position_rad,
            velocity_rad_s=velocity_rad_s,
        )
        counts = round(allowed.effort_nm / self._nm_per_a / xl330.AMPERE_PER_COUNT)
        self.goal = self._sign * counts * xl330.AMPERE_PER_COUNT
        return allowed.limited

    def sent(self) -> None:
        """The rate limit counts from here."""
        joint_a = self._sign * self.goal
        self.count = round(self.goal / xl330.AMPERE_PER_COUNT)
        self._effort_nm = joint_a * self._nm_per_a
        self.applied = min(max(joint_a / self._current_max_a, -1.0), 1.0)


class PositionMotor:
    """Unit action → goal → effort of the spring → envelope → whole counts. See :class:`Motor`.

    A goal outside the action's range, where power came on or an obstacle pushed the joint, moves
    inwards only.
    """

    unit = "counts"

    def __init__(self, spec: RobotSpec, action: PositionAction, joint: Joint) -> None:
        index = spec.actuated.index(joint)
        self._limits = joint_limits(spec, joint)
        self._range_rad = action.range_rad[index]
        self._centre_rad = None if action.centre_rad is UNSET else action.centre_rad[index]
        self._stiffness_nm_rad = action.stiffness_nm_rad
        self._turned, self._offset_rad = joint.sign * joint.gear, joint.offset_rad
        self._rad_per_count = RAD_PER_COUNT[spec.bus.kind]
        self.hold(0.0)

    def adopt(self, goal: float) -> None:
        """This goal holds the joint."""
        self.goal = goal
        self.goal_rad = goal / self._turned + self._offset_rad
        self.sent()

    def hold(self, angle_rad: float) -> None:
        """The goal is the count nearest to this angle."""
        self._aim(angle_rad)
        self.adopt(self.goal)

    def limit(self, action: float, position_rad: float, velocity_rad_s: float) -> Limited:
        """Goal that the envelope allows; the last one where anything is not finite."""
        asked_rad = self._asked_rad(action)
        allowed = self._envelope(asked_rad, position_rad, velocity_rad_s)
        if allowed.limited & Limited.NOT_FINITE:
            self._aim(self.goal_rad)
        elif allowed.limited:
            self._aim(position_rad + allowed.effort_nm / self._stiffness_nm_rad)
        else:
            self._aim(asked_rad)
        return allowed.limited

    def sent(self) -> None:
        """The rate limit counts from here."""
        before_rad = self.goal_rad
        self.count = round(self.goal / self._rad_per_count)
        self.goal_rad = self.goal / self._turned + self._offset_rad
        origin_rad = before_rad if self._centre_rad is None else self._centre_rad
        reached = (self.goal_rad - origin_rad) / self._range_rad
        self.still = 0.0 if self._centre_rad is None else reached
        self.applied = min(max(reached, -1.0), 1.0)

    def _asked_rad(self, action: float) -> float:
        """Goal that is asked for; from outside the range none that is farther outside."""
        if not math.isfinite(action):
            return math.nan
        origin_rad = self.goal_rad if self._centre_rad is None else self._centre_rad
        low, high = origin_rad - self._range_rad, origin_rad + self._range_rad
        asked_rad = origin_rad + self._range_rad * action
        return min(max(asked_rad, min(low, self.goal_rad)), max(high, self.goal_rad))

    def _envelope(self, asked_rad: float, position_rad: float, velocity_rad_s: float) -> Allowed:
        """The goals asked for and in force as efforts of the spring, through the envelope."""
        return limit_effort(
            self._limits,
            asked_nm=self._stiffness_nm_rad * (asked_rad - position_rad),
            previous_nm=self._stiffness_nm_rad * (self.goal_rad - position_rad),
            position_rad=position_rad,
            velocity_rad_s=velocity_rad_s,
        )

    def _aim(self, goal_rad: float) -> None:
        turned_rad = self._turned * (goal_rad - self._offset_rad)
        self.goal = round(turned_rad / self._rad_per_count) * self._rad_per_count
