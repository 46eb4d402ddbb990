"""What is there, in numbers: robots with their losses, and episodes with size, gaps and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from offboard.data.catalogue import Catalogue
from offboard.data.recording import Recording, read_recording
from protocol.errors import StoreError
from protocol.messages import Gap
from protocol.step_record import End, Flag, Rows


@dataclass(frozen=True)
class Declared:
    """A loss on record; ``records`` is 0 where nobody knows how many."""

    first_record: int
    records: int
    reason: str


@dataclass(frozen=True)
class RobotFacts:
    """What the store holds of a robot, by its records' own numbers; see ``Account``."""

    robot: str
    packed_records: int
    packed_bytes: int
    holes: int
    duplicates: int
    declared: tuple[Declared, ...]
    deleted_episodes: int


@dataclass(frozen=True)
class EpisodeFacts:
    """One archived episode. ``fault`` is empty, or why nothing else is known of it.

    Attributes:
        seconds: from first to last observation, as measured.
        missing: ticks of the episode that are not in it.
    """

    name: str
    robot: str
    size_bytes: int
    sha256: str
    records: int = 0
    seconds: float = 0.0
    missing: int = 0
    end: str = ""
    policies: tuple[int, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class ColumnFacts:
    """One number of the observation or action over an episode."""

    name: str
    unit: str
    least: float
    mean: float
    most: float


@dataclass(frozen=True)
class EpisodeDetail:
    """Everything ``data show`` says of an episode; periods are those between its observations."""

    facts: EpisodeFacts
    robot_file: str
    robot_digest: str
    control_hz: int
    period_ms: dict[str, float]
    flags: dict[str, int]
    columns: tuple[ColumnFacts, ...]


def robot_facts(catalogue: Catalogue) -> list[RobotFacts]:
    """Every robot that ever delivered."""
    return [_robot(catalogue, robot) for robot in catalogue.robots()]


def episode_facts(path: Path) -> EpisodeFacts:
    """One file of the archive; damage is a fact like others."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return EpisodeFacts(path.stem, path.parent.name, 0, "", fault=str(error))
    digest = hashlib.sha256(data).hexdigest()
    try:
        return _facts(path, read_recording(path), len(data), digest)
    except StoreError as error:
        return EpisodeFacts(path.stem, path.parent.name, len(data), digest, fault=str(error))


def episode_detail(path: Path) -> EpisodeDetail:
    """One file of the archive in full. Raises StoreError if it is damaged."""
    recording = read_recording(path)
    rows = recording.rows
    facts = episode_facts(path)
    period_ms = np.diff(rows["sense_ns"]) / 1e6 if len(rows) > 1 else np.zeros(1)
    quantiles = {"median": 0.5, "p99": 0.99, "max": 1.0}
    return EpisodeDetail(
        facts=facts,
        robot_file=recording.robot_file,
        robot_digest=recording.robot_digest,
        control_hz=recording.control_hz,
        period_ms={name: float(np.quantile(period_ms, q)) for name, q in quantiles.items()},
        flags=_flags(rows),
        columns=(
            *_columns(recording.columns, rows["obs"]),
            *_columns({f"applied {a}": u for a, u in recording.actions.items()}, rows["applied"]),
        ),
    )


def _robot(catalogue: Catalogue, robot: str) -> RobotFacts:
    account = catalogue.account(robot)
    return RobotFacts(
        robot=robot,
        packed_records=account.committed,
        packed_bytes=catalogue.packed_bytes(robot),
        holes=account.holes,
        duplicates=account.duplicates,
        declared=tuple(_declared(gap) for gap in catalogue.gaps(robot)),
        deleted_episodes=sum(not episode.path for episode in catalogue.episodes(robot)),
    )


def _declared(gap: Gap) -> Declared:
    return Declared(gap.first_record, gap.count, gap.reason)


def _facts(path: Path, recording: Recording, size_bytes: int, sha256: str) -> EpisodeFacts:
    rows = recording.rows
    if len(rows) == 0:
        return EpisodeFacts(path.stem, recording.robot, size_bytes, sha256)
    span_ns = int(rows["sense_ns"][-1]) - int(rows["sense_ns"][0])
    ticks = int(rows["tick"][-1]) - int(rows["tick"][0]) + 1
    return EpisodeFacts(
        name=path.stem,
        robot=recording.robot,
        size_bytes=size_bytes,
        sha256=sha256,
        records=len(rows),
        seconds=span_ns / 1e9,
        missing=ticks - len(rows),
        end=End(int(rows["end"][-1])).name.lower(),
        policies=tuple(int(version) for version in np.unique(rows["policy_version"])),
    )


def _flags(rows: Rows) -> dict[str, int]:
    """How many ticks had which flag, for those that any had."""
    counts = {flag.name or "": int((rows["flags"] & flag != 0).sum()) for flag in Flag}
    limited = int((rows["flags"] & 0xFF != 0).sum())
    return {name: count for name, count in {"LIMITED": limited, **counts}.items() if count}


def _columns(units: dict[str, str], values: np.ndarray) -> Sequence[ColumnFacts]:
    return [
        ColumnFacts(name, unit, *(float(f) for f in (column.min(), column.mean(), column.max())))
        for (name, unit), column in zip(units.items(), values.T, strict=True)
    ]
