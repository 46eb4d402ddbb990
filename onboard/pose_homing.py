"""Reset of a robot in position mode: its goals walk home, slowly, and the joints follow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from protocol.robot_spec import PositionAction, RobotSpec

NEAR_SHARE = 0.5
"""Of the settling tolerance: so close to home, steps would only hunt the gears' friction."""


class PoseHoming:
    """Goals approach home at most at the homing speed, and ever more slowly. Pure.

    Where an action is a step of the goal, the steps lead the *measured* joint home, so that
    gravity leaves no error. Where it is a place, a reference walks from the measured pose.

    Attributes:
        lay: see :class:`onboard.homing.Homing`.
    """

    def __init__(self, spec: RobotSpec, action: PositionAction) -> None:
        homing = self._homing = spec.homing
        self._joints = [spec.joint_index(joint.name) for joint in spec.actuated]
        self._range_rad = action.range_rad
        self._centre_rad = None if action.centre_rad is UNSET else action.centre_rad
        self._step_rad = homing.velocity_max_rad_s * spec.tick_s
        self._share = min(homing.homing_gain_1_s * spec.tick_s, 1.0)
        self._near_rad = NEAR_SHARE * homing.settled_position_rad
        self._needed_ticks = math.ceil(homing.settled_for_s * spec.control_hz)
        self._tilt_rad = math.inf
        if homing.settled_tilt_rad is not UNSET:
            self._tilt_rad = homing.settled_tilt_rad
        self._reference_rad: list[float] = []
        self._calm_ticks = 0
        self.lay = False
        self.action: NDArray[np.float32] = np.zeros(len(self._joints), dtype=np.float32)

    def reset(self) -> None:
        """Start over, from wherever the joints are."""
        self.lay = self.lay and not self.settled
        self._calm_ticks = 0
        self._reference_rad = []

    @property
    def settled(self) -> bool:
        """Every joint has been at home and still for ``settled_for_s``, the body upright."""
        return self._calm_ticks >= self._needed_ticks

    def update(
        self,
        position_rad: Sequence[float],
        velocity_rad_s: Sequence[float],
        tilt_rad: float = 0.0,
    ) -> NDArray[np.float32]:
        """One tick; see :class:`onboard.homing.Homing`."""
        measured_rad = [position_rad[joint] for joint in self._joints]
        if self._centre_rad is None or not self._reference_rad:
            self._reference_rad = measured_rad
        for index, home_rad in enumerate(self._homing.home_rad):
            step_rad = self._step(home_rad - self._reference_rad[index])
            self._reference_rad[index] += step_rad
            self.action[index] = self._unit(index, step_rad)
        upright = tilt_rad < self._tilt_rad
        self.lay = self.lay or not upright
        calm = upright and self._calm(position_rad, velocity_rad_s)
        self._calm_ticks = self._calm_ticks + 1 if calm else 0
        return self.action

    def _step(self, left_rad: float) -> float:
        if self._centre_rad is None and abs(left_rad) < self._near_rad:
            return 0.0
        return min(max(self._share * left_rad, -self._step_rad), self._step_rad)

    def _unit(self, index: int, step_rad: float) -> float:
        """A step, or the place it leads to, as a unit action."""
        if self._centre_rad is None:
            return step_rad / self._range_rad[index]
        return (self._reference_rad[index] - self._centre_rad[index]) / self._range_rad[index]

    def _calm(self, position_rad: Sequence[float], velocity_rad_s: Sequence[float]) -> bool:
        homing = self._homing
        return all(
            abs(position_rad[joint] - home_rad) < homing.settled_position_rad
            and abs(velocity_rad_s[joint]) < homing.settled_velocity_rad_s
            for joint, home_rad in zip(self._joints, homing.home_rad, strict=True)
        )
