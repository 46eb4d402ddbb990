"""One row per tick into the ring: the only place that knows the record's fields by name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onboard.ring import RingWriter
from protocol.modes import Mode
from protocol.step_record import End

FloatArray = NDArray[np.float32]


class Sample(NamedTuple):
    """What one tick was. Times in ns of the monotonic clock; arrays (O,), (A,), (A,)."""

    tick: int
    sense_ns: int
    act_ns: int
    episode: int
    step: int
    policy_version: int
    flags: int
    period_error_us: float
    work_us: float
    mode: Mode
    end: End
    obs: FloatArray
    requested: FloatArray
    applied: FloatArray


class Recorder:
    """Writes samples as step records; never waits and never fails: a full ring counts a drop."""

    def __init__(self, ring: RingWriter) -> None:
        self._ring = ring
        self._columns = [ring.row[name] for name in Sample._fields]  # views, made once

    def write(self, sample: Sample) -> None:
        """Publish one row."""
        for column, value in zip(self._columns, sample, strict=True):
            column[0] = value
        self._ring.commit()
