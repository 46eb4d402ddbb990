"""From unit actions to what the safety envelope lets the plant's motors be asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocol.actuation import motor_of
from protocol.robot_spec import PositionAction, RobotSpec
from sim_harness.wire_end import Demand, Setpoint

FloatArray = NDArray[np.float32]


class Actuators:
    """The motors of a robot as its runtime would drive them.

    Attributes:
        goal_rad: where they were sent, in position mode; zeros in current mode.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._motors = [motor_of(spec, joint) for joint in spec.actuated]
        self._joints = [spec.joint_index(joint.name) for joint in spec.actuated]
        self._signs = [joint.sign for joint in spec.actuated]
        action = spec.action
        self._position_mode = isinstance(action, PositionAction)
        self._duty_max = (
            spec.safety.effort_max_nm / action.stall_nm
            if isinstance(action, PositionAction)
            else 0.0
        )
        self.goal_rad = [0.0] * len(self._motors)

    @property
    def still(self) -> FloatArray:
        """(A,) unit actions that ask for no motion."""
        return np.array([motor.still for motor in self._motors], dtype=np.float32)

    def rest(self, position_rad: Sequence[float]) -> None:
        """As after power-on: no current flows, or every joint is held where it is."""
        for index, motor in enumerate(self._motors):
            motor.hold(position_rad[self._joints[index]])
            self.goal_rad[index] = motor.goal_rad

    def demands(
        self, action: FloatArray, position_rad: Sequence[float], velocity_rad_s: Sequence[float]
    ) -> list[Demand]:
        """What ``action`` (A,) comes to; remembered, because the rate limit needs the last."""
        for index, (motor, joint) in enumerate(zip(self._motors, self._joints, strict=True)):
            motor.limit(float(action[index]), position_rad[joint], velocity_rad_s[joint])
            motor.sent()
            self.goal_rad[index] = motor.goal_rad
        if self._position_mode:
            return [Setpoint(goal_rad, self._duty_max, 0.0) for goal_rad in self.goal_rad]
        return [sign * motor.goal for sign, motor in zip(self._signs, self._motors, strict=True)]

    def applied(self) -> FloatArray:
        """(A,) unit actions that was sent amounts to."""
        return np.array([motor.applied for motor in self._motors], dtype=np.float32)
