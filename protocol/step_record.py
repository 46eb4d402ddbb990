"""One control tick as a fixed-size row: the same bytes in ring, spool, wire and store.

A row's ``obs`` was sensed at ``sense_ns`` and answered by ``applied`` at ``act_ns``. The last row
of an episode carries the final observation and ``end`` ≠ RUNNING; its action is outside it.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from protocol.errors import WireError
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec

Rows = NDArray[np.void]


class End(IntEnum):
    """How an episode stands after this row."""

    RUNNING = 0
    TERMINATED = 1
    TRUNCATED = 2
    ABORTED = 3


class Flag(IntFlag):
    """What was special about this tick. The low byte is ``protocol.envelope.Limited``."""

    BAD_POLICY = 1 << 8
    STALE_SENSOR = 1 << 9
    LATE = 1 << 10
    GAP = 1 << 11
    EXPLORING = 1 << 12
    SWAPPED = 1 << 13
    ASKED = 1 << 14
    """The policy itself was asked; in the ticks between, its answer is held or approached."""
    SOFT = 1 << 15
    """The operating system refused the loop real-time scheduling."""


_MODE_MAX, _END_MAX = int(max(Mode)), int(max(End))


def record_dtype(observation_size: int, action_size: int) -> np.dtype[np.void]:
    """Row layout for O observation columns and A actions; packed, little-endian."""
    return np.dtype(
        [
            ("seq", "<u8"),
            ("tick", "<u8"),
            ("sense_ns", "<i8"),
            ("act_ns", "<i8"),
            ("episode", "<u4"),
            ("step", "<u4"),
            ("policy_version", "<u4"),
            ("flags", "<u4"),
            ("period_error_us", "<f4"),
            ("work_us", "<f4"),
            ("mode", "u1"),
            ("end", "u1"),
            ("obs", "<f4", (observation_size,)),
            ("requested", "<f4", (action_size,)),
            ("applied", "<f4", (action_size,)),
        ]
    )


def dtype_of(spec: RobotSpec) -> np.dtype[np.void]:
    """Row layout of this robot."""
    return record_dtype(len(spec.observation), len(spec.actuated))


def decode_rows(data: bytes, dtype: np.dtype[np.void], count: int) -> Rows:
    """Rows from wire or disk bytes, checked.

    Args:
        data: ``count`` packed rows.
        dtype: from :func:`dtype_of`.
        count: rows announced.

    Returns:
        (count,) read-only structured array.

    Raises:
        WireError: wrong length, non-consecutive ``seq``, unknown mode or end, non-finite numbers,
            applied actions outside [-1, 1] or time running backwards.
    """
    if len(data) != count * dtype.itemsize:
        raise WireError(f"{len(data)} bytes are not {count} records of {dtype.itemsize} bytes")
    rows = np.frombuffer(data, dtype=dtype)
    if count == 0:
        return rows
    if (rows["seq"][1:] != rows["seq"][:-1] + np.uint64(1)).any():
        raise WireError("record sequence numbers are not consecutive")
    if rows["mode"].max() > _MODE_MAX or rows["end"].max() > _END_MAX:
        raise WireError("record with an unknown mode or end")
    for field in ("obs", "applied", "period_error_us", "work_us"):
        if not np.isfinite(rows[field]).all():
            raise WireError(f"record with a non-finite {field}")
    if np.abs(rows["applied"]).max() > 1.0:
        raise WireError("record with an applied action outside [-1, 1]")
    sense_ns = rows["sense_ns"]
    if (sense_ns[1:] < sense_ns[:-1]).any() or (rows["act_ns"] < sense_ns).any():
        raise WireError("record timestamps run backwards")
    return rows


def transition_mask(rows: Rows) -> NDArray[np.bool_]:
    """(N-1,) True where rows k, k+1 form one RUN transition.

    A gap, or a row whose sensors were not read, removes only what it touches.
    """
    here, there = rows[:-1], rows[1:]
    stale = (here["flags"] | there["flags"]) & Flag.STALE_SENSOR
    return np.asarray(
        (here["mode"] == Mode.RUN)
        & (here["end"] == End.RUNNING)
        & (there["end"] != End.ABORTED)
        & (here["episode"] == there["episode"])
        & (there["step"] == here["step"] + 1)
        & (there["tick"] == here["tick"] + 1)
        & (stale == 0)
    )
