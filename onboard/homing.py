"""Reset without teleport: drive the arm home and take the energy out of the pendulum on the way.

The reference speed of an arm that carries a passive joint is ``-k sin(theta) - kh (phi - home)``:
with theta = 0 upright the first term brakes the pendulum from any state, spinning included
(``dE/dt = -m l r k cos²(theta) theta'² ≤ 0``), in about 2 s instead of half a minute of waiting.
Source: LEARNING.md § 5.4. It has no hold on a pendulum that friction keeps standing upright, as a
policy that balances leaves it; that one is toppled by a steady push of the arm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocol.observation import wrap
from protocol.robot_spec import RobotSpec

FloatArray = NDArray[np.float32]

FRICTION_SLOPE_S_RAD = 4.0
"""Slope of the smooth Coulomb feed-forward. Source: LEARNING.md § 5.4."""
TOPPLE_WITHIN_RAD = 0.2
"""Closer to upright than this the pendulum is pushed over."""
TOPPLE_RAD_S = 4.0
"""Reference speed of that push, towards home: a tenth of a second of it is enough."""
STOP_GAIN_1_S = 8.0
"""Fastest reference towards a soft stop, per rad of distance: the arm is never driven into it."""


class Homing:
    """Pure controller: positions and velocities in, unit actions and "settled" out."""

    def __init__(self, spec: RobotSpec) -> None:
        self._homing, margin = spec.homing, spec.safety.position_margin_rad
        self._actuated = [spec.joint_index(joint.name) for joint in spec.actuated]
        self._stops = [
            (joint.position_min_rad + margin, joint.position_max_rad - margin)
            for joint in spec.actuated
        ]
        self._passive, self._carrier = _passive(spec)
        action = spec.action
        full_scale_nm = action.torque_constant_nm_a * action.current_max_a
        self._damping = action.joint_damping_nm_s / full_scale_nm
        self._friction = action.joint_friction_nm / full_scale_nm
        self._needed_ticks = math.ceil(spec.homing.settled_for_s * spec.control_hz)
        self._calm_ticks = 0
        self.action: FloatArray = np.zeros(len(self._actuated), dtype=np.float32)

    def reset(self) -> None:
        """Start over."""
        self._calm_ticks = 0

    @property
    def settled(self) -> bool:
        """Everything has been at home and still for ``settled_for_s``."""
        return self._calm_ticks >= self._needed_ticks

    def update(self, position_rad: Sequence[float], velocity_rad_s: Sequence[float]) -> FloatArray:
        """One tick.

        Args:
            position_rad: one per joint of the robot.
            velocity_rad_s: likewise.

        Returns:
            Unit actions (A,) in [-1, 1]; the same array at every call.
        """
        calm = self._passive_calm(position_rad, velocity_rad_s)
        for index, joint in enumerate(self._actuated):
            position, velocity = position_rad[joint], velocity_rad_s[joint]
            reference = self._reference_rad_s(index, position, position_rad)
            self.action[index] = self._drive(reference, velocity)
            calm = calm and self._calm(index, position, velocity)
        self._calm_ticks = self._calm_ticks + 1 if calm else 0
        return self.action

    def _reference_rad_s(self, index: int, position: float, position_rad: Sequence[float]) -> float:
        homing = self._homing
        away = position - homing.home_rad[index]
        reference = -homing.homing_gain_1_s * away
        if self._passive is not None and index == self._carrier:
            passive = position_rad[self._passive]
            if abs(wrap(passive)) < TOPPLE_WITHIN_RAD:
                reference = math.copysign(TOPPLE_RAD_S, -away)
            else:
                reference -= homing.damping_gain_rad_s * math.sin(passive)
        fastest = homing.velocity_max_rad_s
        low, high = self._stops[index]
        slowest = max(-fastest, STOP_GAIN_1_S * (low - position))
        fastest = min(fastest, STOP_GAIN_1_S * (high - position))
        return min(max(reference, slowest), fastest)

    def _drive(self, reference: float, velocity: float) -> float:
        action = (
            self._homing.velocity_gain * (reference - velocity)
            + self._damping * reference
            + self._friction * math.tanh(FRICTION_SLOPE_S_RAD * reference)
        )
        return min(max(action, -1.0), 1.0)

    def _calm(self, index: int, position: float, velocity: float) -> bool:
        homing = self._homing
        return (
            abs(position - homing.home_rad[index]) < homing.settled_position_rad
            and abs(velocity) < homing.settled_velocity_rad_s
        )

    def _passive_calm(self, position_rad: Sequence[float], velocity_rad_s: Sequence[float]) -> bool:
        """The passive joint hangs (theta = ±pi) and is still; true if there is none."""
        if self._passive is None:
            return True
        hanging = abs(wrap(position_rad[self._passive] - math.pi))
        return (
            hanging < self._homing.settled_passive_rad
            and abs(velocity_rad_s[self._passive]) < self._homing.settled_passive_rad_s
        )


def _passive(spec: RobotSpec) -> tuple[int | None, int]:
    """The passive joint and the actuated joint that carries it: the last one before it."""
    if spec.homing.passive_joint is None:
        return None, 0
    passive = spec.joint_index(spec.homing.passive_joint)
    before = [joint for joint in spec.joints[:passive] if joint.actuated]
    return passive, max(len(before) - 1, 0)
