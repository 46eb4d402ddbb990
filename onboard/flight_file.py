"""A flight as an MCAP file that explains itself: ticks, their units, and the robot they are of.

Foxglove opens it as it is: one message per tick on ``/tick``, JSON with a schema that carries
names and units, times on the robot's monotonic clock. The robot file lies inside as an attachment,
so :mod:`onboard.replay` needs nothing else to run the recorded inputs through the present code.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zstandard
from mcap.exceptions import McapError
from mcap.reader import McapReader, make_reader
from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import CompressionType, Writer
from msgspec import UNSET

from onboard.recorder import IMU_COLUMN, flight_dtype
from onboard.stopwatch import Section
from onboard.tick import Driver
from protocol.envelope import Limited
from protocol.errors import ConfigError
from protocol.modes import Mode
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, Rows

TOPIC = "/tick"
FACTS = "wombet.flight"
ROBOT_FILE = "robot.json"
MAX_BYTES = 256 << 20
_LIMITS = 0xFF
"""The byte of the flags that says which rules changed the command."""

_ENUMS = {"mode": Mode, "end": End, "driver": Driver}
_MEANING = {
    "tick": "number of the slot, lost ones counted",
    "slot_ns": "ns, monotonic: when the tick was due",
    "started_ns": "ns, monotonic: when it woke",
    "sense_ns": "ns, monotonic: when the joints were read",
    "act_ns": "ns, monotonic: when everything was done",
    "episode": "number in the robot's life",
    "step": "actions taken in the episode",
    "policy_version": "0 for none",
    "flags": "bits of protocol.step_record.Flag and protocol.envelope.Limited",
    "period_error_us": "µs late",
    "work_us": "µs of processor time",
    "span_us": "µs elapsed from waking to done",
    "mode": "protocol.modes.Mode",
    "end": "protocol.step_record.End",
    "driver": "who decided the command",
    "sensed": "every joint answered",
    "sent": "the command went out",
    "latched": "an emergency stop, past which nothing but zero is sent",
    "asked": "the policy itself was asked",
    "draw": "number of the exploration noise, 0 for none",
    "position_count": "as the node reports it: 2π/4096 rad from 2048",
    "velocity_count": "as the node reports it",
    "current_count": "as the node reports it, in the motor's own direction",
    "obs": "what the policy saw",
    "requested": "unit action, 1 is full effort: asked for by policy or homing",
    "commanded": "unit action given to the envelope",
    "previous": "unit action in force before",
    "applied": "unit action in force after",
    "section_span_us": "µs elapsed in a part of the tick",
    "section_work_us": "µs of processor time in a part of the tick",
    IMU_COLUMN: "as the IMU reports it: gravity in 2^-14, turn rate in mrad/s",
}
_UNITS = {"position": "rad", "velocity": "rad/s", "goal": "rad"}
_UNITS |= dict.fromkeys(("cos", "sin", "applied", "gravity"), "1")
_UNITS |= {"gyro": "rad/s", "speed": "m/s", "command": "m/s"}
_IMU_NAMES = [f"{of}:{axis}" for of in ("gravity", "gyro") for axis in "xyz"]


class Recording(NamedTuple):
    """What a flight file holds.

    Attributes:
        spec: the robot as it was.
        rows: (N,) ticks of :func:`onboard.recorder.flight_dtype`, oldest first.
        facts: why and by whom it was written.
    """

    spec: RobotSpec
    rows: Rows
    facts: dict[str, str]


def encode_flight(spec: RobotSpec, rows: Rows, facts: Mapping[str, str]) -> bytes:
    """The file's bytes.

    Args:
        spec: the robot.
        rows: (N,) ticks, oldest first.
        facts: kept as the metadata record ``wombet.flight``.
    """
    file, names = BytesIO(), column_names(spec)
    writer = Writer(file, compression=CompressionType.ZSTD)
    writer.start(profile="", library="wombet")
    schema = writer.register_schema("tick", SchemaEncoding.JSONSchema, tick_schema(spec))
    channel = writer.register_channel(TOPIC, MessageEncoding.JSON, schema)
    robot = msgspec.json.encode(spec)
    writer.add_attachment(0, 0, ROBOT_FILE, "application/json", robot)
    writer.add_metadata(FACTS, dict(facts))
    for row in rows:
        writer.add_message(
            channel,
            log_time=int(row["started_ns"]),
            publish_time=int(row["act_ns"]),
            sequence=int(row["tick"]) & 0xFFFFFFFF,
            data=msgspec.json.encode(_object(row, names)),
        )
    writer.finish()  # type: ignore[no-untyped-call]
    return file.getvalue()


def read_recording(path: Path) -> Recording:
    """Read what :func:`encode_flight` made.

    Raises:
        ConfigError: the file cannot be read, or is no flight of a robot this version knows.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: exceeds the cap of {MAX_BYTES >> 20} MiB")
    try:
        return _decoded(make_reader(BytesIO(data), validate_crcs=True))
    except (
        *(McapError, zstandard.ZstdError, struct.error, msgspec.DecodeError),
        *(LookupError, TypeError, ValueError, OverflowError, EOFError, AttributeError),
    ) as error:
        raise ConfigError(f"{path}: not a flight recording ({error!r})") from error


def tick_schema(spec: RobotSpec) -> bytes:
    """JSON Schema of one tick: every column by name, with its unit."""
    names, row = column_names(spec), flight_dtype(spec)
    units = {
        label: f"{_UNITS[term.kind]}, times {term.scale:g}"
        for label, term in zip(names["obs"], spec.observation, strict=True)
    }
    properties: dict[str, Any] = {}
    for field, meaning in _MEANING.items():
        if field not in (row.names or ()):
            continue
        kind = "string" if field in _ENUMS else _JSON_KINDS[row[field].base.kind]
        properties[field] = {"type": kind, "description": meaning}
        if field in names:
            columns = {
                name: {"type": kind, "description": units.get(name, meaning)}
                for name in names[field]
            }
            properties[field].update(type="object", properties=columns)
    properties["limited_by"] = {"type": "array", "items": {"type": "string"}}
    return msgspec.json.encode({"title": "tick", "type": "object", "properties": properties})


_JSON_KINDS = {"u": "integer", "i": "integer", "f": "number", "b": "boolean"}


def column_names(spec: RobotSpec) -> dict[str, list[str]]:
    """What the entries of every field that has several are called."""
    joints = [joint.name for joint in spec.joints]
    motors = [joint.name for joint in spec.actuated]
    sections = [section.name.lower() for section in Section]
    return {
        **dict.fromkeys(("position_count", "velocity_count", "current_count"), joints),
        **dict.fromkeys(("requested", "commanded", "previous", "applied"), motors),
        **dict.fromkeys(("section_span_us", "section_work_us"), sections),
        "obs": Layout(spec).labels,
        **({} if spec.imu is UNSET else {IMU_COLUMN: _IMU_NAMES}),
    }


def _object(row: np.void, names: Mapping[str, list[str]]) -> dict[str, Any]:
    """One row as JSON values; a number that is not finite becomes null."""
    found: dict[str, Any] = {}
    for field in row.dtype.names or ():
        value = row[field].tolist()
        if field in names:
            found[field] = {
                name: item if math.isfinite(item) else None
                for name, item in zip(names[field], value, strict=True)
            }
        else:
            found[field] = _ENUMS[field](value).name if field in _ENUMS else value
    found["limited_by"] = [rule.name for rule in _rules(row["flags"])]
    return found


def _rules(flags: np.uint32) -> Iterator[Limited]:
    return (rule for rule in Limited if rule and int(flags) & _LIMITS & rule)


def _decoded(reader: McapReader) -> Recording:
    (robot,) = (file.data for file in reader.iter_attachments() if file.name == ROBOT_FILE)
    (facts,) = (note.metadata for note in reader.iter_metadata() if note.name == FACTS)
    spec, _ = msgspec.json.decode(robot, type=RobotSpec), int(facts.get("life", "0"))
    ticks = [
        msgspec.json.decode(message.data, type=dict[str, Any])
        for _, _, message in reader.iter_messages(TOPIC)
    ]
    names = column_names(spec)
    rows = np.zeros(len(ticks), dtype=flight_dtype(spec))
    for row, tick in zip(rows, ticks, strict=True):
        _fill(row, tick, names)
    return Recording(spec, rows, dict(facts))


def _fill(row: np.void, tick: Mapping[str, Any], names: Mapping[str, list[str]]) -> None:
    for field in row.dtype.names or ():
        value = tick[field]
        if field in names:
            items = (value[name] for name in names[field])
            row[field] = [math.nan if item is None else item for item in items]
        else:
            row[field] = _ENUMS[field][value] if field in _ENUMS else value
