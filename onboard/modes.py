"""The mode table: a pure function from (mode, event) to mode.

::

    BOOT ─▶ SELFTEST ─▶ IDLE ─▶ HOMING ─▶ RUN ─▶ RECOVER ─▶ RUN …
                                   └────────┴───────┴──▶ HOLD ─▶ RECOVER | IDLE
    any ─▶ ESTOP (latched)    any but ESTOP ─▶ FAULT (latched)    CLEAR: both ─▶ SELFTEST ─▶ IDLE

Choices worth knowing:

* HOLD keeps the motors powered at zero effort (the envelope still pushes away from the stops). Its
  timeout leads to RECOVER: lateness and a tripped motor watchdog pass, so the robot drives home and
  goes on. GIVE_UP leads to IDLE instead: there is no policy left to trust, or the third HOLD came
  without a completed episode between.
* GIVE_UP also ends a RECOVER in which the body lay: a hand has righted it, and may still be there.
* A run of bad policy outputs goes to HOLD only if no previous policy is left to roll back to; then
  no policy is active, so the HOLD ends in IDLE and START is refused until a new policy arrives.
* Homing or recovering for too long is a FAULT: something mechanical is wrong.
* CLEAR leads through SELFTEST, so FAULT and ESTOP are left only over a bus that was checked anew.

An event a mode does not mention leaves it where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from protocol.modes import Mode


class Event(Enum):
    """What can happen to the runtime."""

    BOOTED = auto()
    PASSED = auto()
    FAILED = auto()
    START = auto()
    STOP = auto()
    ESTOP = auto()
    CLEAR = auto()
    SETTLED = auto()
    EPISODE_OVER = auto()
    TIMEOUT = auto()
    OPERATOR_TIMEOUT = auto()
    LATE = auto()
    BAD_POLICY = auto()
    MOTOR_SILENT = auto()
    GIVE_UP = auto()
    MOTOR_FAULT = auto()
    BUS_DEAD = auto()


_FATAL = {
    Event.ESTOP: Mode.ESTOP,
    Event.MOTOR_FAULT: Mode.FAULT,
    Event.BUS_DEAD: Mode.FAULT,
}
_MOVING = {
    **_FATAL,
    Event.STOP: Mode.IDLE,
    Event.OPERATOR_TIMEOUT: Mode.IDLE,
    Event.GIVE_UP: Mode.IDLE,
}
_DRIVING = {**_MOVING, Event.LATE: Mode.HOLD, Event.MOTOR_SILENT: Mode.HOLD}

TABLE: Mapping[Mode, Mapping[Event, Mode]] = {
    Mode.BOOT: {**_FATAL, Event.BOOTED: Mode.SELFTEST},
    Mode.SELFTEST: {
        **_FATAL,
        Event.PASSED: Mode.IDLE,
        Event.FAILED: Mode.FAULT,
        Event.TIMEOUT: Mode.FAULT,
    },
    Mode.IDLE: {**_FATAL, Event.START: Mode.HOMING},
    Mode.HOMING: {**_DRIVING, Event.SETTLED: Mode.RUN, Event.TIMEOUT: Mode.FAULT},
    Mode.RUN: {**_DRIVING, Event.EPISODE_OVER: Mode.RECOVER, Event.BAD_POLICY: Mode.HOLD},
    Mode.RECOVER: {**_DRIVING, Event.SETTLED: Mode.RUN, Event.TIMEOUT: Mode.FAULT},
    Mode.HOLD: {**_MOVING, Event.TIMEOUT: Mode.RECOVER},
    Mode.FAULT: {Event.ESTOP: Mode.ESTOP, Event.CLEAR: Mode.SELFTEST},
    Mode.ESTOP: {Event.CLEAR: Mode.SELFTEST},
}


def following(mode: Mode, event: Event) -> Mode:
    """The mode after ``event``; total over all modes and events."""
    return TABLE[mode].get(event, mode)
