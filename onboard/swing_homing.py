"""Reset without teleport: drive the arm home and take the energy out of the pendulum on the way.

The reference speed of an arm that carries a passive joint is ``-k sin(theta) - kh (phi - home)``:
with theta = 0 upright the first term brakes the pendulum from any state, spinning included
(``dE/dt = -m l r k cos²(theta) theta'² ≤ 0``), in about 2 s instead of half a minute of waiting.
Source: LEARNING.md § 5.4. Two states are outside its reach:

* A pendulum that friction keeps standing upright, as a policy that balances leaves it, is toppled
  by a steady push of the arm.
* A pendulum that spins fast turns so far between reading and motion that the same law would feed
  it: the arm lags by 50-70 ms, a quarter turn at 25 rad/s. There the arm's *acceleration* follows
  ``-cos(theta) theta'`` where the pendulum will be when the torque acts (ADR 7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocol.observation import wrap
from protocol.robot_spec import CurrentAction, RobotSpec

FloatArray = NDArray[np.float32]

FRICTION_SLOPE_S_RAD = 4.0
"""Slope of the smooth Coulomb feed-forward. Source: LEARNING.md § 5.4."""
TOPPLE_WITHIN_RAD = 0.2
"""Closer to upright than this the pendulum is pushed over."""
TOPPLE_RAD_S = 4.0
"""Reference speed of that push, towards home: a tenth of a second of it is enough."""
SPIN_RAD_S = 14.0
"""Faster than this the pendulum is braked by torque. It falls from upright at 16-18 rad/s."""
SPIN_LEAD_TICKS = 1.25
"""From reading to the middle of the torque's tick: half a tick of hold and a usual bus delay."""
SPIN_GAIN = 0.9
"""Share of full effort that brakes a spin; the rest keeps the arm near home."""
STOP_GAIN_1_S = 8.0
"""Fastest reference towards a soft stop, per rad of distance: the arm is never driven into it."""


class SwingHoming:
    """Effort controller: positions and velocities in, unit actions and "settled" out. Pure."""

    def __init__(self, spec: RobotSpec, action: CurrentAction) -> None:
        self._homing, margin = spec.homing, spec.safety.position_margin_rad
        self._actuated = [spec.joint_index(joint.name) for joint in spec.actuated]
        self._stops = [
            (joint.position_min_rad + margin, joint.position_max_rad - margin)
            for joint in spec.actuated
        ]
        self._passive, self._carrier = _passive(spec)
        full_scale_nm = action.torque_constant_nm_a * action.current_max_a
        self._damping = action.joint_damping_nm_s / full_scale_nm
        self._friction = action.joint_friction_nm / full_scale_nm
        self.lay = False
        self._spin_lead_s = SPIN_LEAD_TICKS * spec.tick_s
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

    def update(
        self,
        position_rad: Sequence[float],
        velocity_rad_s: Sequence[float],
        tilt_rad: float = 0.0,
    ) -> FloatArray:
        """One tick; see :class:`onboard.homing.Homing`. Its base stands on a table: no tilt."""
        calm = self._passive_calm(position_rad, velocity_rad_s)
        for index, joint in enumerate(self._actuated):
            position, velocity = position_rad[joint], velocity_rad_s[joint]
            brake = self._spin_brake(index, position_rad, velocity_rad_s)
            wanted = self._home_rad_s(index, position)
            if brake == 0.0:
                wanted += self._damping_rad_s(index, wanted, position_rad)
            reference = self._clear_of_stops(index, position, wanted)
            self.action[index] = _unit(self._drive(reference, velocity) + brake)
            calm = calm and self._calm(index, position, velocity)
        self._calm_ticks = self._calm_ticks + 1 if calm else 0
        return self.action

    def _home_rad_s(self, index: int, position: float) -> float:
        return -self._homing.homing_gain_1_s * (position - self._homing.home_rad[index])

    def _damping_rad_s(self, index: int, homeward: float, position_rad: Sequence[float]) -> float:
        """What the passive joint asks of the arm's speed, on top of ``homeward``."""
        if self._passive is None or index != self._carrier:
            return 0.0
        passive = position_rad[self._passive]
        if abs(wrap(passive)) < TOPPLE_WITHIN_RAD:
            return math.copysign(TOPPLE_RAD_S, homeward) - homeward
        return -self._homing.damping_gain_rad_s * math.sin(passive)

    def _spin_brake(
        self, index: int, position_rad: Sequence[float], velocity_rad_s: Sequence[float]
    ) -> float:
        """Unit effort against a fast spin, 0 if there is none."""
        if self._passive is None or index != self._carrier:
            return 0.0
        speed = velocity_rad_s[self._passive]
        if abs(speed) < SPIN_RAD_S:
            return 0.0
        ahead = position_rad[self._passive] + speed * self._spin_lead_s
        return -SPIN_GAIN * math.cos(ahead) * math.copysign(1.0, speed)

    def _clear_of_stops(self, index: int, position: float, reference: float) -> float:
        fastest = self._homing.velocity_max_rad_s
        low, high = self._stops[index]
        slowest = max(-fastest, STOP_GAIN_1_S * (low - position))
        fastest = min(fastest, STOP_GAIN_1_S * (high - position))
        return min(max(reference, slowest), fastest)

    def _drive(self, reference: float, velocity: float) -> float:
        return (
            self._homing.velocity_gain * (reference - velocity)
            + self._damping * reference
            + self._friction * math.tanh(FRICTION_SLOPE_S_RAD * reference)
        )

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


def _unit(action: float) -> float:
    return min(max(action, -1.0), 1.0)


def _passive(spec: RobotSpec) -> tuple[int | None, int]:
    """The passive joint and the actuated joint that carries it: the last one before it."""
    if spec.homing.passive_joint is None:
        return None, 0
    passive = spec.joint_index(spec.homing.passive_joint)
    before = [joint for joint in spec.joints[:passive] if joint.actuated]
    return passive, max(len(before) - 1, 0)
