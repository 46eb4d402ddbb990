"""Finished episodes as MCAP files: one file an episode, open in Foxglove and Rerun as they are.

Messages are JSON with a schema that carries names and units; times are the robot's monotonic clock,
as measured. A file appears under its name only when it is whole. Source: FLEET.md § 7.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import zstandard
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import CompressionType, Writer

from offboard.archive_index import ArchiveIndex
from offboard.durable_file import sync_directory
from offboard.episode_store import EpisodeStore
from offboard.losses import GENERATION_SHIFT
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, Rows

TOPIC = "/step"
EPISODE_MAX_ROWS = 1 << 18
"""An episode counts as over then, after 87 minutes at 50 Hz: it is held in memory as a whole, and
until it is archived nothing of it can leave the disk."""
_NAME = re.compile(r"g\d+-e\d+\.mcap\Z")
_UNREADABLE = (OSError, McapError, zstandard.ZstdError, struct.error, msgspec.MsgspecError)
_NONSENSE = (LookupError, ValueError, OverflowError, MemoryError, RuntimeError)
_UNITS = {"position": "rad", "velocity": "rad/s", "goal": "rad"}
_UNITS |= dict.fromkeys(("cos", "sin", "applied", "gravity"), "1")
_UNITS |= {"gyro": "rad/s", "speed": "m/s", "command": "m/s"}


def _to_stderr(note: str) -> None:
    print(note, file=sys.stderr)


def archive_episodes(
    store: EpisodeStore,
    robot: str,
    spec: RobotSpec,
    directory: Path,
    tell: Callable[[str], None] = _to_stderr,
) -> list[Path]:
    """Write every finished episode not yet archived to ``directory/ROBOT/``; safe to repeat.

    A file is never replaced by one that lacks a record of it, as the store does after it was
    restored from an older copy. ``tell`` hears of each file that was there and stays, and of
    episodes that are too long.

    Returns:
        The new files, in order.

    Raises:
        StoreError: a file cannot be written; those before it are archived.
    """
    folder = _Folder(store, robot, spec, directory, tell)
    batches = store.rows(robot, ArchiveIndex(store.database).through(robot))
    written = (folder.file(rows) for rows in finished_episodes(batches))
    return [path for path in written if path is not None]


class _Folder:
    """The archive of one robot; see :func:`archive_episodes` for the arguments."""

    def __init__(
        self,
        store: EpisodeStore,
        robot: str,
        spec: RobotSpec,
        directory: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._store, self._robot, self._spec = store, robot, spec
        self._index = ArchiveIndex(store.database)
        self._directory, self._tell = directory, tell

    def file(self, rows: Rows) -> Path | None:
        """File (N,) rows of an episode that is over; None if they are on file already.

        Raises:
            StoreError: the file cannot be written.
        """
        generation, episode = int(rows["seq"][0]) >> GENERATION_SHIFT, int(rows["episode"][0])
        if self._index.is_archived(self._robot, generation, episode):
            return self._file_rest(rows)
        path = self._path(f"g{generation:03d}-e{episode:06d}")
        if path.exists():
            held = _filed_rows(path, self._store.dtype)
            if self._keeps(path, held, rows):
                return None
            path = self._beside(path, held, rows)
        self._write(path, rows)
        self._catalogue(path, rows)
        if rows["end"][-1] == End.RUNNING and len(rows) >= EPISODE_MAX_ROWS:
            self._tell(
                f"{path}: the episode is longer than {EPISODE_MAX_ROWS} records and counts as "
                "over; what follows of it is filed as rest"
            )
        return path

    def _file_rest(self, rows: Rows) -> Path:
        """What follows in an episode that was too long lies beside it, as between episodes."""
        path = self._path(rest_name(rows))
        if path.exists():
            path = self._beside(path, _filed_rows(path, self._store.dtype), rows)
        self._write(path, rows)
        self._index.extend(self._robot, rows)
        self._tell(f"{path}: {len(rows)} records more of an episode that counted as over")
        return path

    def _keeps(self, path: Path, held: Rows, rows: Rows) -> bool:
        """Whether the file has all of ``rows`` and more; then it is catalogued as it is."""
        if not _records(rows) < _records(held):
            return False
        self._catalogue(path, held)
        self._tell(
            f"{path} is kept: it has {len(held)} records of its episode, the store {len(rows)}"
        )
        return True

    def _beside(self, path: Path, held: Rows, rows: Rows) -> Path:
        """Another name, unless all the file has is in ``rows``."""
        if len(held) and _records(held) <= _records(rows):
            return path
        names = (path.with_name(f"{path.stem}.{number}.mcap") for number in count(2))
        other = next(name for name in names if not name.exists())
        self._tell(f"{path} is kept: it has records that are not in the store, or is damaged")
        return other

    def _path(self, stem: str) -> Path:
        return self._directory / self._robot / f"{stem}.mcap"

    def _write(self, path: Path, rows: Rows) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_rows(path, rows, self._spec, self._robot)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error}") from error

    def _catalogue(self, path: Path, rows: Rows) -> None:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        name = str(path.relative_to(self._directory))
        self._index.catalogue(self._robot, rows, name, digest)


class _Filed(msgspec.Struct):
    """As much of a message as says which record it is."""

    seq: int
    sense_ns: int
    episode: int
    end: str


def _filed_rows(path: Path, dtype: np.dtype[np.void]) -> Rows:
    """(N,) rows of ``path`` with the columns of ``_Filed`` alone; none if it is damaged."""
    decoder = msgspec.json.Decoder(_Filed)
    try:
        with path.open("rb") as file:
            found = make_reader(file, validate_crcs=True).iter_messages(TOPIC, log_time_order=False)
            steps = [decoder.decode(message.data) for _, _, message in found]
        rows = np.zeros(len(steps), dtype)
        for name in ("seq", "sense_ns", "episode"):
            rows[name] = [getattr(step, name) for step in steps]
        rows["end"] = [End[step.end] for step in steps]
    except (*_UNREADABLE, *_NONSENSE):
        return np.zeros(0, dtype)
    return rows


def _records(rows: Rows) -> set[tuple[int, int]]:
    """Number and time of each: a robot that was set up anew counts from the beginning again."""
    return {*zip(rows["seq"].tolist(), rows["sense_ns"].tolist(), strict=True)}


def uncatalogued(store: EpisodeStore, directory: Path) -> list[Path]:
    """Episodes' files that the catalogue, if it is an older copy of itself, knows nothing of."""
    return [
        path
        for folder in sorted(directory.glob("*/"))
        for path in sorted(set(folder.glob("*.mcap")) - _known(store, folder))
        if _NAME.match(path.name)
    ]


def _known(store: EpisodeStore, folder: Path) -> set[Path]:
    known = ArchiveIndex(store.database).paths(folder.name)
    return {folder.parent / path for path in known if path}


def rest_name(rows: Rows) -> str:
    """Stem of a file of (N,) rows that lie in no episode's file; the catalogue has none of them."""
    generation, counter = divmod(int(rows["seq"][0]), 1 << GENERATION_SHIFT)
    return f"rest-g{generation:03d}-{counter:012d}"


def finished_episodes(batches: Iterable[Rows]) -> Iterator[Rows]:
    """Rows of one episode each, for every episode that is over.

    An episode's rows are those of mode RUN with its number, and the row that aborts it, which has
    the mode it was aborted into. It is over when a row says so or another episode has begun; a tail
    that may still grow is left for the next time, unless it is ``EPISODE_MAX_ROWS`` long.
    """
    parts: list[Rows] = []
    length = 0
    for rows in batches:
        running = rows[(rows["mode"] == Mode.RUN) | (rows["end"] != End.RUNNING)]
        breaks = np.flatnonzero(np.diff(running["episode"])) + 1
        for part in np.split(running, breaks):
            if len(part) == 0:
                continue
            if parts and parts[-1]["episode"][-1] != part["episode"][0]:
                yield np.concatenate(parts)
                parts, length = [], 0
            parts.append(part)
            length += len(part)
            if length >= EPISODE_MAX_ROWS or part["end"][-1] != End.RUNNING:
                yield np.concatenate(parts)
                parts, length = [], 0


def column_units(spec: RobotSpec) -> dict[str, str]:
    """Unit and scale of each observation column, in order, as in ``rad/s, times 0.1``."""
    return {
        label: f"{_UNITS[term.kind]}, times {term.scale:g}"
        for label, term in zip(Layout(spec).labels, spec.observation, strict=True)
    }


def action_units(spec: RobotSpec) -> dict[str, str]:
    """Unit of each action, in order."""
    return {joint.name: "unit action, 1 is full effort" for joint in spec.actuated}


def step_schema(spec: RobotSpec) -> bytes:
    """JSON Schema of one step: every column by name, with its unit."""
    observation = {name: _number(unit) for name, unit in column_units(spec).items()}
    actions = {name: _number(unit) for name, unit in action_units(spec).items()}
    properties = {
        **{
            name: {"type": "integer"}
            for name in ("seq", "tick", "episode", "step", "policy_version", "flags")
        },
        "sense_ns": {"type": "integer", "description": "ns, monotonic, when sensed"},
        "act_ns": {"type": "integer", "description": "ns, monotonic, when sent"},
        "period_error_us": _number("µs"),
        "work_us": _number("µs"),
        "mode": {"type": "string"},
        "end": {"type": "string"},
        "observation": {"type": "object", "properties": observation},
        "requested": {"type": "object", "properties": actions},
        "applied": {"type": "object", "properties": actions},
    }
    return msgspec.json.encode({"title": "step", "type": "object", "properties": properties})


def write_rows(path: Path, rows: Rows, spec: RobotSpec, robot: str) -> None:
    """Write ``rows`` to ``path``, whole or not at all. Raises OSError."""
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        _write(file, rows, spec, robot)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)


def _write(file: BinaryIO, rows: Rows, spec: RobotSpec, robot: str) -> None:
    writer = Writer(file, compression=CompressionType.ZSTD)
    writer.start(profile="", library="wombet")
    schema = writer.register_schema("step", SchemaEncoding.JSONSchema, step_schema(spec))
    channel = writer.register_channel(TOPIC, MessageEncoding.JSON, schema)
    facts = {"robot": robot, "robot_file": spec.name, "robot_digest": spec.digest()}
    writer.add_metadata("wombet", {**facts, "control_hz": str(spec.control_hz)})
    labels, joints = Layout(spec).labels, [joint.name for joint in spec.actuated]
    for row in rows:
        writer.add_message(
            channel,
            log_time=int(row["sense_ns"]),
            publish_time=int(row["act_ns"]),
            sequence=int(row["tick"]) & 0xFFFFFFFF,
            data=msgspec.json.encode(_step(row, labels, joints)),
        )
    writer.finish()  # type: ignore[no-untyped-call]


def _step(row: np.void, labels: list[str], joints: list[str]) -> dict[str, object]:
    """One row as JSON values; a number that is not finite becomes null."""
    names = ("seq", "tick", "sense_ns", "act_ns", "episode", "step", "policy_version", "flags")
    return {
        **{name: int(row[name]) for name in names},
        **{name: float(row[name]) for name in ("period_error_us", "work_us")},
        "mode": Mode(row["mode"]).name,
        "end": End(row["end"]).name,
        "observation": _named(labels, row["obs"]),
        "requested": _named(joints, row["requested"]),
        "applied": _named(joints, row["applied"]),
    }


def _named(names: list[str], values: Iterable[float]) -> dict[str, float | None]:
    return {
        name: float(value) if math.isfinite(value) else None
        for name, value in zip(names, values, strict=True)
    }


def _number(unit: str) -> dict[str, str]:
    return {"type": "number", "description": unit}
