"""What passes between a bus's firmware and the rest of the rig."""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """What the physics does to a node. Counts are relative to the encoder's centre, multi-turn."""

    counts: int
    velocity_rad_s: float
    current_a: float
    voltage_v: float
    temperature_c: float
    overloaded: bool = False


class Setpoint(NamedTuple):
    """What a position loop is to do.

    Attributes:
        goal_rad: where to.
        duty_max: share of the supply it may use; 0 is a motor without torque.
        velocity_max_rad_s: how fast the goal is led there; 0 for as fast as the servo can.
    """

    goal_rad: float
    duty_max: float
    velocity_max_rad_s: float


class Brake(NamedTuple):
    """A stop that damps: current against the motor's speed, and no more than so much."""

    ampere_s_rad: float
    current_max_a: float

    def current_a(self, velocity_rad_s: float) -> float:
        """Current at this speed of the motor."""
        against = -self.ampere_s_rad * velocity_rad_s
        return min(max(against, -self.current_max_a), self.current_max_a)


Demand = float | Setpoint | Brake
"""What a node asks of its motor: a current, a place from the encoder's centre, or to stop."""


class Reply(NamedTuple):
    """Bytes a node sends ``delay_ns`` after the bus fell silent."""

    delay_ns: int
    data: bytes
