"""The Feetech STS3215 servo's control table as data.

There is no bus watchdog in it: a servo that hears nothing holds its last goal. Negative values are
a magnitude and a sign bit. Addresses below 40 are EEPROM: kept over a power cycle only if written
while LOCK is 0.

Source: Feetech "SMS/STS series memory table" (doc.feetech.cn), checked against the tables of
LeRobot's Feetech bus and of Waveshare's SMS_STS library.
"""

from __future__ import annotations

import math

from protocol.register import Register

COUNTS_PER_TURN = 4096
CENTRE_COUNT = 2048
RAD_PER_COUNT = 2.0 * math.pi / COUNTS_PER_TURN
RAD_S_PER_COUNT = RAD_PER_COUNT
"""Speeds are in steps per second (0.0146 rpm), as PHASE is set in the factory."""
AMPERE_PER_COUNT = 6.5e-3
VOLT_PER_COUNT = 0.1
RETURN_DELAY_S_PER_COUNT = 2e-6

POSITION_MODE = 0
MODEL_NUMBER_STS3215 = 777
BAUD_RATES = (1_000_000, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400)
FULL_TORQUE = 1000
"""What the torque limit calls all of the supply."""
EEPROM_BYTES = 40

_TURN = 32_767

FIRMWARE_MAJOR = Register("firmware major version", 0, 1, "R")
FIRMWARE_MINOR = Register("firmware minor version", 1, 1, "R")
MODEL_NUMBER = Register("model number", 3, 2, "R")
ID = Register("id", 5, 1, "RW", initial=1, maximum=253)
BAUD_RATE = Register("baud rate", 6, 1, "RW", maximum=7)
RETURN_DELAY = Register(
    "return delay time", 7, 1, "RW", RETURN_DELAY_S_PER_COUNT, initial=250, maximum=254
)
RESPONSE_LEVEL = Register("response status level", 8, 1, "RW", initial=1, maximum=1)
MIN_POSITION = Register("min position limit", 9, 2, "RW", RAD_PER_COUNT, maximum=4095)
MAX_POSITION = Register(
    "max position limit", 11, 2, "RW", RAD_PER_COUNT, initial=4095, maximum=4095
)
MAX_TEMPERATURE = Register("max temperature limit", 13, 1, "RW", initial=70, maximum=100)
MAX_VOLTAGE = Register("max voltage limit", 14, 1, "RW", VOLT_PER_COUNT, initial=80, maximum=254)
MIN_VOLTAGE = Register("min voltage limit", 15, 1, "RW", VOLT_PER_COUNT, initial=40, maximum=254)
MAX_TORQUE = Register("max torque limit", 16, 2, "RW", 1e-3, initial=1000, maximum=1000)
PHASE = Register("phase", 18, 1, "RW", initial=12, maximum=254)
UNLOADING_CONDITION = Register("unloading condition", 19, 1, "RW", initial=44, maximum=254)
P_COEFFICIENT = Register("position p coefficient", 21, 1, "RW", initial=32, maximum=254)
D_COEFFICIENT = Register("position d coefficient", 22, 1, "RW", initial=32, maximum=254)
I_COEFFICIENT = Register("position i coefficient", 23, 1, "RW", maximum=254)
HOMING_OFFSET = Register(
    "homing offset", 31, 2, "RW", RAD_PER_COUNT, minimum=-2047, maximum=2047, sign_bit=11
)
OPERATING_MODE = Register("operating mode", 33, 1, "RW", maximum=3)
TORQUE_ENABLE = Register("torque enable", 40, 1, "RW", maximum=1)
ACCELERATION = Register("acceleration", 41, 1, "RW", 100 * RAD_PER_COUNT, maximum=254)
GOAL_POSITION = Register(
    "goal position", 42, 2, "RW", RAD_PER_COUNT, minimum=-_TURN, maximum=_TURN, sign_bit=15
)
GOAL_TIME = Register("goal time", 44, 2, "RW", 1e-3, maximum=_TURN)
GOAL_SPEED = Register(
    "goal speed", 46, 2, "RW", RAD_S_PER_COUNT, minimum=-_TURN, maximum=_TURN, sign_bit=15
)
TORQUE_LIMIT = Register("torque limit", 48, 2, "RW", 1e-3, initial=1000, maximum=1000)
LOCK = Register("lock", 55, 1, "RW", initial=1, maximum=1)
PRESENT_POSITION = Register(
    "present position", 56, 2, "R", RAD_PER_COUNT, minimum=-_TURN, maximum=_TURN, sign_bit=15
)
PRESENT_SPEED = Register(
    "present speed", 58, 2, "R", RAD_S_PER_COUNT, minimum=-_TURN, maximum=_TURN, sign_bit=15
)
PRESENT_LOAD = Register("present load", 60, 2, "R", 1e-3, minimum=-1000, maximum=1000, sign_bit=10)
PRESENT_VOLTAGE = Register("present voltage", 62, 1, "R", VOLT_PER_COUNT)
PRESENT_TEMPERATURE = Register("present temperature", 63, 1, "R")
STATUS = Register("status", 65, 1, "R")
"""The alarms, as in every answer: :class:`protocol.feetech.Alarm`."""
MOVING = Register("moving", 66, 1, "R")
PRESENT_CURRENT = Register(
    "present current", 69, 2, "R", AMPERE_PER_COUNT, minimum=-_TURN, maximum=_TURN, sign_bit=15
)

STS3215 = (
    FIRMWARE_MAJOR,
    FIRMWARE_MINOR,
    MODEL_NUMBER,
    ID,
    BAUD_RATE,
    RETURN_DELAY,
    RESPONSE_LEVEL,
    MIN_POSITION,
    MAX_POSITION,
    MAX_TEMPERATURE,
    MAX_VOLTAGE,
    MIN_VOLTAGE,
    MAX_TORQUE,
    PHASE,
    UNLOADING_CONDITION,
    P_COEFFICIENT,
    D_COEFFICIENT,
    I_COEFFICIENT,
    HOMING_OFFSET,
    OPERATING_MODE,
    TORQUE_ENABLE,
    ACCELERATION,
    GOAL_POSITION,
    GOAL_TIME,
    GOAL_SPEED,
    TORQUE_LIMIT,
    LOCK,
    PRESENT_POSITION,
    PRESENT_SPEED,
    PRESENT_LOAD,
    PRESENT_VOLTAGE,
    PRESENT_TEMPERATURE,
    STATUS,
    MOVING,
    PRESENT_CURRENT,
)
"""Every register of the servo that this project reads, writes or emulates."""
