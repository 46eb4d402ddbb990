"""The simulated body of a robot, as its file describes it; read by the harness only."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.table import NonNegative, Positive, Table

ENCODER_BITS = 12
"""Of the encoders whose registers the simulated nodes have."""


Range = tuple[float, float]


class Body(Table, frozen=True):
    """Parameters of the simulated rig in SI; see the TOML for sources. What may be left out is off.

    A ``pendulum`` is a passive joint with a rod and a tip; ``payload_kg`` hangs at the site
    ``tip``. ``backlash_rad`` is the whole play between each motor and its link, with
    ``backlash_friction_nm`` between the teeth. The position loop of a servo asks for
    ``servo_gain_1_rad`` of the supply per radian between goal and encoder, and leads its goal
    there at ``servo_velocity_max_rad_s``. ``motor_stribeck_nm`` is friction on top at rest, gone
    beyond ``motor_stribeck_rad_s``; an encoder resolves ``encoder_bits`` and shows normal noise of
    ``encoder_noise_counts`` (of 2**12 per turn). The supply has ``supply_resistance_ohm``, and an
    answer comes ``bus_latency_ms`` later than wire and node alone would have it (an adapter). An
    IMU's gravity and turn rate have normal noise, and a bias of up to so much on each axis.
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
    motor_stribeck_nm: NonNegative = 0.0
    motor_stribeck_rad_s: Positive = 0.1
    encoder_bits: Annotated[int, Meta(ge=6, le=ENCODER_BITS)] = ENCODER_BITS
    encoder_noise_counts: NonNegative = 0.0
    supply_resistance_ohm: NonNegative = 0.0
    bus_latency_ms: NonNegative = 0.0
    imu_tilt_noise_rad: NonNegative = 0.0
    imu_tilt_bias_rad: NonNegative = 0.0
    imu_rate_noise_rad_s: NonNegative = 0.0
    imu_rate_bias_rad_s: NonNegative = 0.0


class Plant(Table, frozen=True):
    """The simulated body: an MJCF beside the TOML and its variants (``nominal``, ``target``…).

    ``randomise`` has for a task the ranges that its training may draw parameters of a body from.
    ``unseen`` names the bodies of the test set: each has a parameter outside these ranges.
    """

    mjcf: str
    physics_hz: Annotated[int, Meta(ge=100, le=20_000)]
    bodies: dict[str, Body]
    randomise: dict[str, dict[str, Range]] = msgspec.field(default_factory=dict)
    unseen: list[str] = msgspec.field(default_factory=list)
