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


class Attitude(NamedTuple):
    """What the physics does to an IMU, in the body's frame.

    Attributes:
        gravity: where it points; a unit vector.
        turn_rate_rad_s: about each axis.
        voltage_v: as for a node with a shaft.
        temperature_c: likewise.
    """

    gravity: tuple[float, float, float]
    turn_rate_rad_s: tuple[float, float, float]
    voltage_v: float
    temperature_c: float


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


def asks(demand: Demand) -> bool:
    """Whether the host wants anything of the motor; a brake is the node's own doing."""
    if isinstance(demand, Brake):
        return False
    return demand.duty_max > 0.0 if isinstance(demand, Setpoint) else demand != 0.0


class Reply(NamedTuple):
    """Bytes a node sends ``delay_ns`` after the bus fell silent."""

    delay_ns: int
    data: bytes
