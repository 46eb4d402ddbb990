"""The simulated body of a robot, as its file describes it; read by the harness only."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from protocol.table import NonNegative, Positive, Table


class Body(Table, frozen=True):
    """Parameters of the simulated rig in SI; see the TOML for sources. What may be left out is off.

    A ``pendulum`` is a passive joint with a rod and a tip; ``payload_kg`` hangs at the site
    ``tip``. ``backlash_rad`` is the whole play between each motor and its link, with
    ``backlash_friction_nm`` between the teeth. The position loop of a servo asks for
    ``servo_gain_1_rad`` of the supply per radian between goal and encoder, and leads its goal
    there at ``servo_velocity_max_rad_s``.
    """

    motor_torque_constant_nm_a: Positive
    motor_resistance_ohm: Positive
    motor_current_max_a: Positive
    motor_armature_kg_m2: Positive
    motor_friction_nm: NonNegative
    motor_damping_nm_s: NonNegative
    supply_v: Positive
    actuation_delay_ms: Annotated[int, Meta(ge=0, le=200)]
    pendulum_length_m: NonNegative = 0.0
    pendulum_rod_kg: NonNegative = 0.0
    pendulum_tip_kg: NonNegative = 0.0
    pendulum_damping_nm_s: NonNegative = 0.0
    pendulum_friction_nm: NonNegative = 0.0
    payload_kg: NonNegative = 0.0
    backlash_rad: NonNegative = 0.0
    backlash_friction_nm: NonNegative = 0.0
    servo_gain_1_rad: NonNegative = 0.0
    servo_velocity_max_rad_s: NonNegative = 0.0


class Plant(Table, frozen=True):
    """The simulated body: an MJCF beside the TOML and its variants (``nominal``, ``target``…)."""

    mjcf: str
    physics_hz: Annotated[int, Meta(ge=100, le=20_000)]
    bodies: dict[str, Body]
