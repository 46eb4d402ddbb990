"""Names of the runtime's modes, as they stand in step records and on the wire."""

from __future__ import annotations

from enum import IntEnum


class Mode(IntEnum):
    """What the onboard runtime is doing. FAULT and ESTOP stay until an operator clears them."""

    BOOT = 0
    SELFTEST = 1
    IDLE = 2
    HOMING = 3
    RUN = 4
    RECOVER = 5
    HOLD = 6
    FAULT = 7
    ESTOP = 8


MOVING = frozenset({Mode.HOMING, Mode.RUN, Mode.RECOVER, Mode.HOLD})
"""Modes in which the motors are powered; every tick in them is recorded."""
