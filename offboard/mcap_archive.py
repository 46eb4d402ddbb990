"""Finished episodes as MCAP files: one file an episode, open in Foxglove and Rerun as they are.

Messages are JSON with a schema that carries names and units; times are the robot's monotonic clock,
as measured. A file appears under its name only when it is whole. Source: FLEET.md § 7.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import CompressionType, Writer

from offboard.durable_file import sync_directory
from offboard.episode_store import EpisodeStore
from offboard.losses import GENERATION_SHIFT
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, Rows

TOPIC = "/step"
_UNITS = {"position": "rad", "velocity": "rad/s", "goal": "rad"}
_UNITS |= dict.fromkeys(("cos", "sin", "applied", "gravity"), "1")
_UNITS |= {"gyro": "rad/s", "speed": "m/s", "command": "m/s"}


def archive_episodes(
    store: EpisodeStore, robot: str, spec: RobotSpec, directory: Path
) -> list[Path]:
    """Write every finished episode not yet archived to ``directory/ROBOT/``; safe to repeat.

    Returns:
        The new files, in order.

    Raises:
        StoreError: a file cannot be written; those before it are archived.
    """
    folder = directory / robot
    written = []
    for rows in finished_episodes(store.rows(robot, store.archived_through(robot))):
        generation = int(rows["seq"][0]) >> GENERATION_SHIFT
        path = folder / f"g{generation:03d}-e{int(rows['episode'][0]):06d}.mcap"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_rows(path, rows, spec, robot)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error}") from error
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        store.catalogue(robot, rows, str(path.relative_to(directory)), digest)
        written.append(path)
    return written


def finished_episodes(batches: Iterable[Rows]) -> Iterator[Rows]:
    """Rows of one episode each, for every episode that is over.

    An episode's rows are those of mode RUN with its number, and the row that aborts it, which has
    the mode it was aborted into. It is over when a row says so or another episode has begun; a tail
    that may still grow is left for the next time.
    """
    parts: list[Rows] = []
    for rows in batches:
        running = rows[(rows["mode"] == Mode.RUN) | (rows["end"] != End.RUNNING)]
        breaks = np.flatnonzero(np.diff(running["episode"])) + 1
        for part in np.split(running, breaks):
            if len(part) == 0:
                continue
            if parts and parts[-1]["episode"][-1] != part["episode"][0]:
                yield np.concatenate(parts)
                parts = []
            parts.append(part)
            if part["end"][-1] != End.RUNNING:
                yield np.concatenate(parts)
                parts = []


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
