"""One row per tick: into the ring for the server, and into the flight recorder for the inquest.

The only place that knows the rows' fields by name. A flight's row begins as a step record does, but
for the record's number, so that a tick is packed once and copied twice.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import numpy as np
from msgspec import UNSET

from onboard.flight_ring import FlightRing
from onboard.ring import RingWriter
from onboard.row_packer import RowPacker
from onboard.stopwatch import Section
from onboard.tick import Tick
from protocol.observation import LEVEL
from protocol.robot_spec import RobotSpec
from protocol.step_record import dtype_of

_STREAMED = (
    *("tick", "sense_ns", "act_ns", "episode", "step", "policy_version", "flags"),
    *("period_error_us", "work_us", "mode", "end"),
)
_STREAMED_ARRAYS = ("obs", "requested", "applied")
_FLOWN = (
    *("slot_ns", "started_ns", "span_us", "driver"),
    *("sensed", "sent", "latched", "asked", "draw"),
)
_FLOWN_LISTS = (
    *("position_count", "velocity_count", "current_count"),
    *("section_span_us", "section_work_us"),
)
_FLOWN_ARRAYS = ("commanded", "previous")
COLUMNS = (*_STREAMED, *_STREAMED_ARRAYS, *_FLOWN, *_FLOWN_LISTS, *_FLOWN_ARRAYS)
"""Of a flight, in order; attributes of :class:`onboard.tick.Tick`."""
IMU_COLUMN = "imu_count"
"""The last one, where there is an IMU."""
_OF_WAKE = frozenset({"tick", "slot_ns", "started_ns"})


def flight_dtype(spec: RobotSpec) -> np.dtype[np.void]:
    """A tick as a packed row; what a step record has too has the same type and place here."""
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
        "section_span_us": ("<f4", (len(Section),)),
        "section_work_us": ("<f4", (len(Section),)),
        "commanded": ("<f4", (actions,)),
        "previous": ("<f4", (actions,)),
        IMU_COLUMN: ("<i2", (len(LEVEL),)),
    }
    columns = COLUMNS if spec.imu is UNSET else (*COLUMNS, IMU_COLUMN)
    return np.dtype([(name, own[name] if name in own else record[name]) for name in columns])


class Recorder:
    """Writes ticks; never waits and never fails: a full ring counts a drop."""

    def __init__(self, spec: RobotSpec, ring: RingWriter, flight: FlightRing | None = None) -> None:
        self._ring, self._flight = ring, flight
        arrays = (*_STREAMED_ARRAYS, *_FLOWN_ARRAYS)
        self._row = RowPacker(flight_dtype(spec), arrays)
        self._numbers = _values_of(*_STREAMED, *_FLOWN)
        self._arrays = _values_of(*arrays)
        self._feels = spec.imu is not UNSET
        record = ring.row.view(np.uint8).data
        number_bytes = ring.row.dtype["seq"].itemsize
        self._record, self._recorded = record[number_bytes:], record.nbytes - number_bytes

    def write(self, tick: Tick, streamed: bool) -> None:
        """Keep one row, and publish it to the server if ``streamed``."""
        numbers = (
            *self._numbers(tick),
            *tick.position_count,
            *tick.velocity_count,
            *tick.current_count,
            *tick.section_span_us,
            *tick.section_work_us,
            *(tick.imu_count if self._feels else ()),
        )
        self._row.pack(numbers, self._arrays(tick))
        if self._flight is not None:
            self._flight.write(self._row.data)
        if streamed:
            self._record[:] = self._row.data[: self._recorded]
            self._ring.commit()


def _values_of(*names: str) -> Callable[[Tick], tuple[float, ...]]:
    return attrgetter(*(f"wake.{name}" if name in _OF_WAKE else name for name in names))
