"""Can what an encoder says be true? Pure: positions and velocities in, a verdict out."""

from __future__ import annotations

from protocol import xl330
from protocol.robot_spec import Joint

NOISE_COUNTS = 4
"""An encoder at rest may flicker by so many counts between two readings."""
LEANS_RAD = 0.02
"""So far a joint without torque, leaning on its stop, may lie beyond it."""
DRIFT_RAD, DRIFT_SHARE = 0.05, 0.25
"""How far distance by position and distance by velocity may differ: at rest, and of the path."""


class EncoderCheck:
    """Collects one joint's readings.

    Attributes:
        name: of the joint.
    """

    def __init__(self, joint: Joint) -> None:
        self.name, self._joint = joint.name, joint
        self._noise_rad = NOISE_COUNTS * xl330.RAD_PER_COUNT / joint.gear
        self._last: tuple[float, float, float] | None = None
        self._jump = ""
        self._by_position_rad = self._by_velocity_rad = self._path_rad = 0.0
        self._at_rad = 0.0

    def add(self, time_s: float, position_rad: float, velocity_rad_s: float) -> None:
        """Take one reading; times rise."""
        if self._last is not None:
            before_s, before_rad, before_rad_s = self._last
            elapsed_s, step_rad = time_s - before_s, position_rad - before_rad
            reach_rad = self._joint.velocity_max_rad_s * elapsed_s + self._noise_rad
            if abs(step_rad) > reach_rad and not self._jump:
                self._jump = f"jumps by {step_rad:.3f} rad in {elapsed_s * 1e3:.1f} ms"
            self._by_position_rad += step_rad
            self._by_velocity_rad += 0.5 * (velocity_rad_s + before_rad_s) * elapsed_s
            self._path_rad += abs(step_rad)
        self._last, self._at_rad = (time_s, position_rad, velocity_rad_s), position_rad

    @property
    def problem(self) -> str | None:
        """What cannot be true, if anything."""
        joint, apart_rad = self._joint, abs(self._by_position_rad - self._by_velocity_rad)
        if self._last is None:
            return "was never read"
        if self._jump:
            return f"{self._jump}; check its magnet and its wires"
        low, high = joint.position_min_rad - LEANS_RAD, joint.position_max_rad + LEANS_RAD
        if not low <= self._at_rad <= high:
            return (
                f"at {self._at_rad:.3f} rad, outside {joint.position_min_rad:g}.."
                f"{joint.position_max_rad:g}; check offset_rad and sign"
            )
        if apart_rad > DRIFT_RAD + DRIFT_SHARE * self._path_rad:
            return (
                f"moved {self._by_position_rad:.3f} rad by position and "
                f"{self._by_velocity_rad:.3f} rad by velocity; one of them is wrong"
            )
        return None

    @property
    def summary(self) -> str:
        """Where it is, and how much it moved."""
        return f"at {self._at_rad:.3f} rad, moved {self._path_rad:.3f} rad"
