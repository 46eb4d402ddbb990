"""Control table of our IMU node: which way is down, and how the body turns.

The node does the fusing: its gravity is a filtered unit vector, not a raw acceleration. Its axes
are the body's, x ahead, y to the left and z up. The registers lie where a servo has present PWM to
present position, so that one sync read of twelve bytes serves a mixed bus. The model number is
ours, outside those ROBOTIS uses.
"""

from __future__ import annotations

import struct

from protocol import xl330
from protocol.register import Register

MODEL_NUMBER_IMU = 31_006
GRAVITY_PER_COUNT = 2.0**-14
"""Of a unit vector; (0, 0, -1) is a level body."""
RAD_S_PER_COUNT = 1e-3

_MAX = 32_767

GRAVITY_X, GRAVITY_Y, GRAVITY_Z = (
    Register(f"gravity {axis}", address, 2, "R", GRAVITY_PER_COUNT, minimum=-_MAX, maximum=_MAX)
    for axis, address in (("x", 124), ("y", 126), ("z", 128))
)
TURN_RATE_X, TURN_RATE_Y, TURN_RATE_Z = (
    Register(f"turn rate {axis}", address, 2, "R", RAD_S_PER_COUNT, minimum=-_MAX, maximum=_MAX)
    for axis, address in (("x", 130), ("y", 132), ("z", 134))
)
GRAVITY = (GRAVITY_X, GRAVITY_Y, GRAVITY_Z)
TURN_RATE = (TURN_RATE_X, TURN_RATE_Y, TURN_RATE_Z)

PRESENT = struct.Struct("<6h")
"""What one reading is: gravity and turn rate, from :data:`GRAVITY_X` on."""

IMU = (
    xl330.MODEL_NUMBER,
    xl330.FIRMWARE_VERSION,
    xl330.ID,
    xl330.BAUD_RATE,
    xl330.RETURN_DELAY,
    xl330.STATUS_RETURN_LEVEL,
    xl330.HARDWARE_ERROR,
    xl330.REALTIME_TICK,
    *GRAVITY,
    *TURN_RATE,
    xl330.PRESENT_VOLTAGE,
    xl330.PRESENT_TEMPERATURE,
)
"""Every register of the node."""
