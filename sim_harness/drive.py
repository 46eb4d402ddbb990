"""What turns demands into torque on a MuJoCo rig, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import mujoco

from protocol.plant_spec import Body
from protocol.robot_spec import PositionAction, RobotSpec
from sim_harness.current_drive import CurrentDrive
from sim_harness.servo_drive import ServoDrive
from sim_harness.wire_end import Demand


class Drive(Protocol):
    """The motors of a rig; lists are in the order of ``spec.actuated``, in the joint's direction.

    Attributes:
        current_a: what flows, after the supply's limit.
    """

    @property
    def current_a(self) -> list[float]:
        """See the class."""
        ...

    def release(self) -> None:
        """No current, no goal."""

    def command(self, demands: Sequence[Demand]) -> None:
        """Follow ``demands`` from now on."""

    def feed(self, voltage_v: float) -> None:
        """The supply gives so much from now on."""

    def apply(self) -> None:
        """Set the torques of the next physics step."""


def drive_for(spec: RobotSpec, body: Body, model: mujoco.MjModel, data: mujoco.MjData) -> Drive:
    """The motors of ``body``, as the robot's action mode uses them."""
    if isinstance(spec.action, PositionAction):
        return ServoDrive(spec, body, model, data)
    return CurrentDrive(spec, body, model, data)
