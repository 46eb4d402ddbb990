"""One row per tick: into the ring for the server, and into the flight recorder for the inquest.

The only place that knows the rows' fields by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onboard.flight_ring import FlightRing
from onboard.ring import RingWriter
from onboard.stopwatch import Section
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, dtype_of

FloatArray = NDArray[np.float32]


class Driver(IntEnum):
    """Who decided the command of a tick."""

    NOBODY = 0
    """The motors had no power."""
    COAST = 1
    """Zero current, past the envelope: the joints were not known."""
    ZERO = 2
    """Zero through the envelope: HOLD, or an episode that is over."""
    HOMING = 3
    POLICY = 4


class Sample(NamedTuple):
    """What one tick was. Times in ns of the monotonic clock; J joints, A of them actuated.

    Attributes:
        slot_ns: when the tick was due.
        started_ns: when it woke.
        mode: after what came from outside, and what failed, had been considered.
        sensed: every joint answered.
        sent: the command went out.
        latched: an emergency stop, past which nothing but zero is sent.
        asked: the policy itself was asked; between, its last answer is held or approached.
        draw: number of the exploration noise; 0 for none.
        position_count: (J,) last reading as it came; also velocity_count, current_count.
        obs: (O,) observation.
        requested: (A,) what the policy or the homing controller asked for.
        commanded: (A,) what the envelope was given.
        previous: (A,) what was in force when the envelope was asked.
        applied: (A,) what is in force now.
        section_span_us: one per :class:`Section`; also section_work_us.
    """

    tick: int
    slot_ns: int
    started_ns: int
    sense_ns: int
    act_ns: int
    episode: int
    step: int
    policy_version: int
    flags: int
    period_error_us: float
    work_us: float
    span_us: float
    mode: Mode
    end: End
    driver: Driver
    sensed: bool
    sent: bool
    latched: bool
    asked: bool
    draw: int
    position_count: Sequence[int]
    velocity_count: Sequence[int]
    current_count: Sequence[int]
    obs: FloatArray
    requested: FloatArray
    commanded: FloatArray
    previous: FloatArray
    applied: FloatArray
    section_span_us: Sequence[float]
    section_work_us: Sequence[float]


def flight_dtype(spec: RobotSpec) -> np.dtype[np.void]:
    """A :class:`Sample` as a packed row; what a step record has too has the same type here."""
    record, joints, actions = dtype_of(spec), len(spec.joints), len(spec.actuated)
    own = {
        "slot_ns": "<i8",
        "started_ns": "<i8",
        "span_us": "<f4",
        "driver": "u1",
        "sensed": "?",
        "sent": "?",
        "latched": "?",
        "asked": "?",
        "draw": "<u8",
        "position_count": ("<i4", (joints,)),
        "velocity_count": ("<i4", (joints,)),
        "current_count": ("<i2", (joints,)),
        "commanded": ("<f4", (actions,)),
        "previous": ("<f4", (actions,)),
        "section_span_us": ("<f4", (len(Section),)),
        "section_work_us": ("<f4", (len(Section),)),
    }
    return np.dtype([(name, own[name] if name in own else record[name]) for name in Sample._fields])


class Recorder:
    """Writes samples; never waits and never fails: a full ring counts a drop."""

    def __init__(self, ring: RingWriter, flight: FlightRing | None = None) -> None:
        self._ring, self._flight = ring, flight
        names = ring.row.dtype.names or ()
        self._columns = [  # views, made once
            (place, ring.row[name]) for place, name in enumerate(Sample._fields) if name in names
        ]

    def write(self, sample: Sample, streamed: bool) -> None:
        """Keep one row, and publish it to the server if ``streamed``."""
        if self._flight is not None:
            self._flight.write(sample)
        if not streamed:
            return
        for place, column in self._columns:
            column[0] = sample[place]
        self._ring.commit()
