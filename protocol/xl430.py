"""The XL430-W250 servo's control table, where it differs from the XL330's (``protocol/xl330.py``).

It measures no current but estimates its load, and knows no current mode: torque is limited by the
share of the supply it may use. Source: ROBOTIS e-manual, "XL430-W250-T", control table.
"""

from __future__ import annotations

import math

from protocol import xl330
from protocol.register import Register

POSITION_MODE = 3
FULL_PWM = 885
"""Count of the PWM registers that is all of the supply."""
STALL_NM, NO_LOAD_RAD_S, RATED_V = 1.5, 61.0 * 2.0 * math.pi / 60.0, 12.0
AMPERE_PER_COUNT = STALL_NM * NO_LOAD_RAD_S / RATED_V / 1000.0
"""Of the load, which is estimated in thousandths of the stall torque, not measured.

As the current of a motor without losses that has this torque and this speed.
"""
GAIN_PER_COUNT = 1.0 / 128.0
"""PWM counts per encoder count of error, of one count of the position P gain."""

TEMPERATURE_LIMIT = Register("temperature limit", 31, 1, "RW", initial=72, maximum=100)
MAX_VOLTAGE_LIMIT = Register(
    "max voltage limit", 32, 2, "RW", xl330.VOLT_PER_COUNT, initial=140, minimum=60, maximum=140
)
MIN_VOLTAGE_LIMIT = Register(
    "min voltage limit", 34, 2, "RW", xl330.VOLT_PER_COUNT, initial=60, minimum=60, maximum=140
)
VELOCITY_LIMIT = Register(
    "velocity limit", 44, 4, "RW", xl330.RAD_S_PER_COUNT, initial=265, maximum=1023
)
SHUTDOWN = Register("shutdown", 63, 1, "RW", initial=52, maximum=255)
POSITION_D_GAIN = Register("position d gain", 80, 2, "RW", initial=4000, maximum=16_383)
POSITION_I_GAIN = Register("position i gain", 82, 2, "RW", maximum=16_383)
POSITION_P_GAIN = Register(
    "position p gain", 84, 2, "RW", GAIN_PER_COUNT, initial=640, maximum=16_383
)
GOAL_PWM = Register("goal pwm", 100, 2, "RW", 0.113, initial=885, minimum=-885, maximum=885)
PRESENT_LOAD = Register("present load", 126, 2, "R", AMPERE_PER_COUNT, minimum=-1000, maximum=1000)

_INSTEAD = {
    register.address: register
    for register in (
        *(TEMPERATURE_LIMIT, MAX_VOLTAGE_LIMIT, MIN_VOLTAGE_LIMIT, VELOCITY_LIMIT, SHUTDOWN),
        *(GOAL_PWM, PRESENT_LOAD),
    )
}
_LACKING = (xl330.CURRENT_LIMIT, xl330.GOAL_CURRENT)
XL430 = (
    *(_INSTEAD.get(each.address, each) for each in xl330.XL330 if each not in _LACKING),
    *(POSITION_D_GAIN, POSITION_I_GAIN, POSITION_P_GAIN),
)
"""Every register of the servo that this project reads, writes or emulates."""


def p_gain_count(stiffness_nm_rad: float, stall_nm: float) -> int:
    """The position P gain that makes the loop a spring of this stiffness.

    A duty of ``error × gain`` gives that share of the stall torque:
    ``stiffness = stall · gain / 128 · (4096 / 2π) / 885``.

    Args:
        stiffness_nm_rad: wanted, at the servo's own shaft.
        stall_nm: torque of full duty at standstill.

    Source: ROBOTIS e-manual, "XL430-W250-T", Position PID Gain and PWM.
    """
    counts_per_rad = xl330.COUNTS_PER_TURN / (2.0 * math.pi)
    return round(stiffness_nm_rad / stall_nm * FULL_PWM / counts_per_rad / GAIN_PER_COUNT)
