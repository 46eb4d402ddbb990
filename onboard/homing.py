"""Reset without teleport: what drives a robot home and knows when it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onboard.pose_homing import PoseHoming
from onboard.swing_homing import SwingHoming
from protocol.robot_spec import PositionAction, RobotSpec


class Homing(Protocol):
    """A controller without I/O.

    Attributes:
        lay: since it was last settled, the body has been tilted too far. A start over before it
            settles does not forget it.
    """

    lay: bool

    def reset(self) -> None:
        """Start over."""

    @property
    def settled(self) -> bool:
        """Everything has been at home and still for ``settled_for_s``."""
        ...

    def update(
        self,
        position_rad: Sequence[float],
        velocity_rad_s: Sequence[float],
        tilt_rad: float = 0.0,
    ) -> NDArray[np.float32]:
        """One tick.

        Args:
            position_rad: one per joint of the robot.
            velocity_rad_s: likewise.
            tilt_rad: of the body, from level.

        Returns:
            Unit actions (A,); the same array at every call.
        """
        ...


def homing_for(spec: RobotSpec) -> Homing:
    """The controller that suits the robot's action mode."""
    if isinstance(spec.action, PositionAction):
        return PoseHoming(spec, spec.action)
    return SwingHoming(spec, spec.action)
