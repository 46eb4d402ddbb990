"""Control tables as data: the XL330-M288 servo and our 12-bit encoder node.

Source: ROBOTIS e-manual, "XL330-M288-T", control table. The encoder node answers the subset of
registers a passive joint has, at the same addresses, so that one sync read serves a mixed bus.
"""

from __future__ import annotations

import math

from protocol.register import Register

COUNTS_PER_TURN = 4096
CENTRE_COUNT = 2048
RAD_PER_COUNT = 2.0 * math.pi / COUNTS_PER_TURN
AMPERE_PER_COUNT = 1e-3
VOLT_PER_COUNT = 0.1
RAD_S_PER_COUNT = 0.229 * 2.0 * math.pi / 60.0
WATCHDOG_S_PER_COUNT = 0.020
RETURN_DELAY_S_PER_COUNT = 2e-6
WATCHDOG_TRIPPED = 255
"""Read back from BUS_WATCHDOG after silence: the motor is stopped and goals are read-only."""

CURRENT_MODE = 0
BAUD_RATES = (9600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000)

_MULTI_TURN = 2**31 - 1

MODEL_NUMBER = Register("model number", 0, 2, "R")
MODEL_INFORMATION = Register("model information", 2, 4, "R")
FIRMWARE_VERSION = Register("firmware version", 6, 1, "R")
ID = Register("id", 7, 1, "RW", initial=1, maximum=252)
BAUD_RATE = Register("baud rate", 8, 1, "RW", initial=1, maximum=6)
RETURN_DELAY = Register(
    "return delay time", 9, 1, "RW", RETURN_DELAY_S_PER_COUNT, initial=250, maximum=254
)
DRIVE_MODE = Register("drive mode", 10, 1, "RW", maximum=5)
OPERATING_MODE = Register("operating mode", 11, 1, "RW", initial=3, maximum=16)
HOMING_OFFSET = Register(
    "homing offset", 20, 4, "RW", RAD_PER_COUNT, minimum=-1_044_479, maximum=1_044_479
)
MOVING_THRESHOLD = Register(
    "moving threshold", 24, 4, "RW", RAD_S_PER_COUNT, initial=10, maximum=1023
)
TEMPERATURE_LIMIT = Register("temperature limit", 31, 1, "RW", initial=70, maximum=100)
MAX_VOLTAGE_LIMIT = Register(
    "max voltage limit", 32, 2, "RW", VOLT_PER_COUNT, initial=70, minimum=31, maximum=70
)
MIN_VOLTAGE_LIMIT = Register(
    "min voltage limit", 34, 2, "RW", VOLT_PER_COUNT, initial=35, minimum=31, maximum=70
)
PWM_LIMIT = Register("pwm limit", 36, 2, "RW", 0.113, initial=885, maximum=885)
CURRENT_LIMIT = Register("current limit", 38, 2, "RW", AMPERE_PER_COUNT, initial=1750, maximum=1750)
VELOCITY_LIMIT = Register("velocity limit", 44, 4, "RW", RAD_S_PER_COUNT, initial=445, maximum=2047)
MAX_POSITION_LIMIT = Register(
    "max position limit", 48, 4, "RW", RAD_PER_COUNT, initial=4095, maximum=4095
)
MIN_POSITION_LIMIT = Register("min position limit", 52, 4, "RW", RAD_PER_COUNT, maximum=4095)
SHUTDOWN = Register("shutdown", 63, 1, "RW", initial=53, maximum=255)
TORQUE_ENABLE = Register("torque enable", 64, 1, "RW", maximum=1)
LED = Register("led", 65, 1, "RW", maximum=1)
STATUS_RETURN_LEVEL = Register("status return level", 68, 1, "RW", initial=2, maximum=2)
REGISTERED_INSTRUCTION = Register("registered instruction", 69, 1, "R")
HARDWARE_ERROR = Register("hardware error status", 70, 1, "R")
BUS_WATCHDOG = Register("bus watchdog", 98, 1, "RW", WATCHDOG_S_PER_COUNT, maximum=127)
GOAL_PWM = Register("goal pwm", 100, 2, "RW", 0.113, minimum=-885, maximum=885)
GOAL_CURRENT = Register("goal current", 102, 2, "RW", AMPERE_PER_COUNT, minimum=-1750, maximum=1750)
GOAL_VELOCITY = Register(
    "goal velocity", 104, 4, "RW", RAD_S_PER_COUNT, minimum=-2047, maximum=2047
)
PROFILE_ACCELERATION = Register("profile acceleration", 108, 4, "RW", maximum=32_767)
PROFILE_VELOCITY = Register("profile velocity", 112, 4, "RW", RAD_S_PER_COUNT, maximum=32_767)
GOAL_POSITION = Register("goal position", 116, 4, "RW", RAD_PER_COUNT, maximum=4095)
REALTIME_TICK = Register("realtime tick", 120, 2, "R", 1e-3)
MOVING = Register("moving", 122, 1, "R")
MOVING_STATUS = Register("moving status", 123, 1, "R")
PRESENT_PWM = Register("present pwm", 124, 2, "R", 0.113, minimum=-885, maximum=885)
PRESENT_CURRENT = Register(
    "present current", 126, 2, "R", AMPERE_PER_COUNT, minimum=-1750, maximum=1750
)
PRESENT_VELOCITY = Register(
    "present velocity", 128, 4, "R", RAD_S_PER_COUNT, minimum=-_MULTI_TURN, maximum=_MULTI_TURN
)
PRESENT_POSITION = Register(
    "present position", 132, 4, "R", RAD_PER_COUNT, minimum=-_MULTI_TURN, maximum=_MULTI_TURN
)
PRESENT_VOLTAGE = Register("present input voltage", 144, 2, "R", VOLT_PER_COUNT)
PRESENT_TEMPERATURE = Register("present temperature", 146, 1, "R")

XL330 = (
    MODEL_NUMBER,
    MODEL_INFORMATION,
    FIRMWARE_VERSION,
    ID,
    BAUD_RATE,
    RETURN_DELAY,
    DRIVE_MODE,
    OPERATING_MODE,
    HOMING_OFFSET,
    MOVING_THRESHOLD,
    TEMPERATURE_LIMIT,
    MAX_VOLTAGE_LIMIT,
    MIN_VOLTAGE_LIMIT,
    PWM_LIMIT,
    CURRENT_LIMIT,
    VELOCITY_LIMIT,
    MAX_POSITION_LIMIT,
    MIN_POSITION_LIMIT,
    SHUTDOWN,
    TORQUE_ENABLE,
    LED,
    STATUS_RETURN_LEVEL,
    REGISTERED_INSTRUCTION,
    HARDWARE_ERROR,
    BUS_WATCHDOG,
    GOAL_PWM,
    GOAL_CURRENT,
    GOAL_VELOCITY,
    PROFILE_ACCELERATION,
    PROFILE_VELOCITY,
    GOAL_POSITION,
    REALTIME_TICK,
    MOVING,
    MOVING_STATUS,
    PRESENT_PWM,
    PRESENT_CURRENT,
    PRESENT_VELOCITY,
    PRESENT_POSITION,
    PRESENT_VOLTAGE,
    PRESENT_TEMPERATURE,
)
"""Every register of the servo that this project reads, writes or emulates."""

ENCODER = (
    MODEL_NUMBER,
    FIRMWARE_VERSION,
    ID,
    BAUD_RATE,
    RETURN_DELAY,
    STATUS_RETURN_LEVEL,
    HARDWARE_ERROR,
    REALTIME_TICK,
    PRESENT_PWM,
    PRESENT_CURRENT,
    PRESENT_VELOCITY,
    PRESENT_POSITION,
    PRESENT_VOLTAGE,
    PRESENT_TEMPERATURE,
)
"""Registers of the encoder node; PRESENT_PWM and PRESENT_CURRENT read zero."""
