"""One episode read back, bit by bit, from the MCAP file that the archive made of it.

What :mod:`offboard.mcap_archive` writes, this reads; every checksum in the file is checked.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import zstandard
from mcap.exceptions import McapError
from mcap.reader import McapReader, make_reader

from offboard.data.trajectory import Log, unbroken
from offboard.mcap_archive import TOPIC
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.step_record import End, Rows, record_dtype

_DAMAGE = (OSError, McapError, zstandard.ZstdError, struct.error, msgspec.MsgspecError)
_MISREAD = (LookupError, ValueError, OverflowError, MemoryError, RuntimeError)
"""What the reader lets through of a file whose lengths or names are nonsense."""


class Recording(NamedTuple):
    """One episode: who made it, what its columns are called, and its rows (N,)."""

    robot: str
    robot_file: str
    robot_digest: str
    control_hz: int
    columns: dict[str, str]
    actions: dict[str, str]
    rows: Rows


class _Values(msgspec.Struct):
    """A group of numbers in the schema: ``description`` is the unit."""

    class Number(msgspec.Struct):
        description: str

    properties: dict[str, Number]


class _Properties(msgspec.Struct):
    observation: _Values
    applied: _Values


class _Schema(msgspec.Struct):
    properties: _Properties


class _Step(msgspec.Struct):
    """A message of topic ``/step``; a number that was not finite is null."""

    seq: int
    tick: int
    sense_ns: int
    act_ns: int
    episode: int
    step: int
    policy_version: int
    flags: int
    period_error_us: float
    work_us: float
    mode: str
    end: str
    observation: dict[str, float]
    requested: dict[str, float | None]
    applied: dict[str, float]


def read_recording(path: Path) -> Recording:
    """The episode in ``path``; ``columns`` and ``actions`` give the unit of each name.

    Raises:
        StoreError: naming the file, which is missing, damaged, or not of this archive's making.
    """
    try:
        with path.open("rb") as file:
            return _read(make_reader(file, validate_crcs=True))
    except (*_DAMAGE, *_MISREAD) as error:
        raise StoreError(f"{path} is damaged or no episode of ours ({error!r})") from error


def read_mcap(path: Path) -> Log:
    """All episodes of ``path``, a file or a folder of them, as one log; numbered from 0 in order.

    Raises:
        StoreError: there are none, one is damaged, or their columns differ.
    """
    files = mcap_files(path)
    recordings = [read_recording(file) for file in files]
    first = recordings[0]
    for file, other in zip(files, recordings, strict=True):
        if _named(other) != _named(first):
            raise StoreError(f"{file} has other columns than {files[0]}; name one robot's files")
    parts = [
        part
        for number, recording in enumerate(recordings)
        for part in unbroken(recording.rows, number)
    ]
    return Log(
        origin=str(path),
        robot=first.robot,
        columns=tuple(first.columns),
        actions=tuple(first.actions),
        control_hz=first.control_hz,
        task="",
        trajectories=tuple(parts),
    )


def mcap_files(path: Path) -> list[Path]:
    """``path`` itself, or every episode below it in order. Raises StoreError if there is none."""
    files = [path] if path.is_file() else sorted(path.rglob("*.mcap"))
    if not files:
        raise StoreError(f"{path} holds no .mcap file")
    return files


def _named(recording: Recording) -> list[tuple[str, str]]:
    """Columns and actions with their units, in order."""
    return [*recording.columns.items(), *recording.actions.items()]


def _read(reader: McapReader) -> Recording:
    summary = reader.get_summary()
    if summary is None or len(summary.schemas) != 1:
        raise ValueError("it is not whole")
    (schema,) = summary.schemas.values()
    properties = msgspec.json.decode(schema.data, type=_Schema).properties
    columns, actions = (
        {name: number.description for name, number in group.properties.items()}
        for group in (properties.observation, properties.applied)
    )
    facts = {fact.name: fact.metadata for fact in reader.iter_metadata()}["wombet"]
    decoder = msgspec.json.Decoder(_Step)
    steps = [
        decoder.decode(message.data)
        for _, _, message in reader.iter_messages(topics=TOPIC, log_time_order=False)
    ]
    return Recording(
        facts["robot"],
        facts["robot_file"],
        facts["robot_digest"],
        int(facts["control_hz"]),
        columns,
        actions,
        _rows(steps, list(columns), list(actions)),
    )


def _rows(steps: list[_Step], columns: list[str], actions: list[str]) -> Rows:
    rows = np.zeros(len(steps), record_dtype(len(columns), len(actions)))
    for name in ("seq", "tick", "sense_ns", "act_ns", "episode", "step", "policy_version", "flags"):
        rows[name] = [getattr(step, name) for step in steps]
    for name in ("period_error_us", "work_us"):
        rows[name] = [getattr(step, name) for step in steps]
    rows["mode"] = [Mode[step.mode] for step in steps]
    rows["end"] = [End[step.end] for step in steps]
    rows["obs"] = [[step.observation[name] for name in columns] for step in steps]
    rows["applied"] = [[step.applied[name] for name in actions] for step in steps]
    rows["requested"] = [[_number(step.requested[name]) for name in actions] for step in steps]
    return rows


def _number(value: float | None) -> float:
    return math.nan if value is None else value
