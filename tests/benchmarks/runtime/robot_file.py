"""The rig's robot file at another control rate. Pure: text in, text out.

What the file counts in ticks keeps its duration. Two things have to follow the rate: the bus has
less time per tick, and a speed is a difference of encoder counts, of which one per tick is
0.08 rad/s at 50 Hz but 0.77 rad/s at 500 Hz; what counts as standing still grows with it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec, parse_robot_spec

READ_SHARE = 0.45
"""Most of a tick that reading may take; the robot file's check allows less than half."""
FAST_HZ = 200
FAST_BAUD = 4_000_000
"""Above ``FAST_HZ``, so that a tick's bytes take 0.2 ms and not 0.8. The XL330's fastest rate."""


class RobotFile(NamedTuple):
    """A robot file and what was changed in it, by key."""

    text: str
    spec: RobotSpec
    changes: dict[str, float]


def at_rate(text: str, control_hz: int) -> RobotFile:
    """``text`` for ``control_hz``; unchanged if that is its rate.

    Raises:
        ConfigError: a key is not there exactly once, or the result is no sound robot.
    """
    base = parse_robot_spec(text, "the robot file")
    usual = _settings(base, base.control_hz)
    changes = {
        key: value for key, value in _settings(base, control_hz).items() if value != usual[key]
    }
    for key, value in changes.items():
        text = _replaced(text, key, value)
    return RobotFile(text, parse_robot_spec(text, f"the robot file at {control_hz} Hz"), changes)


def _settings(base: RobotSpec, control_hz: int) -> dict[str, float]:
    faster = control_hz / base.control_hz
    safety, homing = base.safety, base.homing
    task = base.task(base.task_name(None))
    return {
        "control_hz": control_hz,
        "baud": FAST_BAUD if control_hz > FAST_HZ else base.bus.baud,
        "read_timeout_s": min(base.bus.read_timeout_s, round(READ_SHARE / control_hz, 6)),
        "misses_to_fault": _ticks(base.bus.misses_to_fault, faster),
        "late_ticks_to_hold": _ticks(safety.late_ticks_to_hold, faster),
        "bad_policy_ticks_to_hold": _ticks(safety.bad_policy_ticks_to_hold, faster),
        "episode_steps": round(task.episode_steps * faster),
        "settled_velocity_rad_s": max(1.0, faster) * homing.settled_velocity_rad_s,
        "settled_passive_rad_s": max(1.0, faster) * homing.settled_passive_rad_s,
    }


def _ticks(count: int, faster: float) -> int:
    """As long as before; one tick at least, 100 at most as the robot file allows."""
    return min(max(round(count * faster), 1), 100)


def _replaced(text: str, key: str, value: float) -> str:
    text, count = re.subn(rf"(?m)^({key} = )[^\s#]+", rf"\g<1>{value!r}", text)
    if count != 1:
        raise ConfigError(f"the robot file has {key} {count} times; once is expected")
    return text
