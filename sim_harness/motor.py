"""A geared DC motor behind a current regulator: the torque a commanded current gives. Pure."""

from __future__ import annotations

from typing import NamedTuple

from protocol.plant_spec import Body

_HAIR = 1e-9


class Motor(NamedTuple):
    """Constants at the output shaft, gear included."""

    torque_constant_nm_a: float
    resistance_ohm: float
    supply_v: float
    current_max_a: float


def motor_of(body: Body) -> Motor:
    """The motor of a plant body."""
    return Motor(
        torque_constant_nm_a=body.motor_torque_constant_nm_a,
        resistance_ohm=body.motor_resistance_ohm,
        supply_v=body.supply_v,
        current_max_a=body.motor_current_max_a,
    )


def torque_nm(motor: Motor, current_a: float, velocity_rad_s: float) -> float:
    """Electromagnetic torque at the output shaft; friction is the plant's business.

    The regulator delivers ``kt * I`` as long as the supply can drive that current against the back
    EMF: ``tau = clip(kt I, kt/R (-V - kt w), kt/R (V - kt w))``.

    Args:
        motor: its constants.
        current_a: commanded current; clipped to the motor's maximum.
        velocity_rad_s: of the output shaft.

    Source: LEARNING.md § 5.1; constants Rhoban bam, params/xl330/m1.
    """
    kt, resistance, supply, limit = motor
    regulated = -limit if current_a < -limit else limit if current_a > limit else current_a
    torque, back_emf, slope = kt * regulated, kt * velocity_rad_s, kt / resistance
    least, most = slope * (-supply - back_emf), slope * (supply - back_emf)
    return least if torque < least else most if torque > most else torque


def unlimited_rad_s(motor: Motor, current_a: float) -> tuple[float, float]:
    """Speeds strictly between which the supply limits nothing: :func:`torque_nm` is kt I there.

    A hair narrower than the truth, so that rounding decides nothing; empty where it always limits.
    """
    kt, resistance, supply, limit = motor
    regulated = min(max(current_a, -limit), limit)
    low, high = ((end - resistance * regulated) / kt for end in (-supply, supply))
    return low + _HAIR * (1.0 + abs(low)), high - _HAIR * (1.0 + abs(high))
