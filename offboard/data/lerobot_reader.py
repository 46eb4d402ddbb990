"""A log from a LeRobotDataset v3, of our making or not, by pyarrow alone; videos are left alone.

Frames that follow one another in an episode are its transitions; the last frame's action leads
nowhere and is dropped. Times are ``sense_ns`` where there is one, else the dataset's timestamps.
Source: lerobot 0.4.4, ``datasets/utils.py``; :mod:`offboard.data.lerobot_writer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offboard.data.extra import extra
from offboard.data.lerobot_writer import ACTION, SCALARS, STATE, Columns
from offboard.data.trajectory import FloatArray, Log, Trajectory
from protocol.errors import StoreError


def read_lerobot(path: Path) -> Log:
    """The dataset ``path``.

    Raises:
        StoreError: it is no LeRobotDataset v3, or lacks a column that is named.
        ConfigError: pyarrow is not installed.
    """
    try:
        info = json.loads((path / "meta/info.json").read_text(encoding="utf-8"))
        version, features = str(info["codebase_version"]), info["features"]
        if not version.startswith("v3."):
            raise StoreError(f"{path} is a LeRobotDataset {version}; convert it to v3 with lerobot")
        columns, actions = (_names(path, features, name) for name in (STATE, ACTION))
        parts = tuple(_trajectories(_read_frames(path, set(features)), _recorded(path)))
        task = _first_task(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is no LeRobotDataset v3 ({error!r})") from error
    return Log(
        origin=str(path),
        robot=str(info.get("robot_type") or ""),
        columns=columns,
        actions=actions,
        control_hz=float(info.get("fps", 0.0)),
        task=task,
        trajectories=parts,
    )


def _names(path: Path, features: dict[str, Any], feature: str) -> tuple[str, ...]:
    """Names of a vector's numbers; none where the dataset gives none."""
    if feature not in features:
        raise StoreError(f"{path} has no column {feature!r}; it has {sorted(features)}")
    names = features[feature].get("names") or ()
    if isinstance(names, dict):  # {"motors": [...]} in older recordings
        names = [name for group in names.values() for name in group]
    return tuple(str(name) for name in names)


def _read_frames(path: Path, features: set[str]) -> Columns:
    arrow, parquet = extra("pyarrow"), extra("pyarrow.parquet")
    wanted = [STATE, ACTION, "frame_index", "episode_index"]
    wanted += sorted({*SCALARS} & features - {*wanted})
    files = sorted((path / "data").glob("*/*.parquet"))
    if not files:
        raise StoreError(f"{path} holds no data/*/*.parquet")
    table = arrow.concat_tables(parquet.read_table(file, columns=wanted) for file in files)
    return {name: _array(table.column(name)) for name in wanted}


def _array(column: Any) -> NDArray[Any]:
    values = column.combine_chunks()
    if hasattr(values, "flatten") and "list" in str(values.type):
        return np.asarray(values.flatten()).reshape(len(values), -1)
    return np.asarray(values)


def _first_task(path: Path) -> str:
    tasks = extra("pyarrow.parquet").read_table(path / "meta/tasks.parquet").to_pylist()
    return str(next((row.get("__index_level_0__", "") for row in tasks), ""))


def _recorded(path: Path) -> list[int]:
    """Our number of each episode, where the dataset is ours."""
    files = sorted((path / "meta/episodes").glob("*/*.parquet"))
    parquet = extra("pyarrow.parquet")
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    return [row["recorded_episode"] for row in rows if "recorded_episode" in row]


def _trajectories(frames: Columns, recorded: Sequence[int]) -> Iterator[Trajectory]:
    breaks = (np.diff(frames["episode_index"]) != 0) | (np.diff(frames["frame_index"]) != 1)
    for index in np.split(np.arange(len(breaks) + 1), np.flatnonzero(breaks) + 1):
        if len(index) > 1:
            yield _trajectory({name: values[index] for name, values in frames.items()}, recorded)


def _trajectory(frames: Columns, recorded: Sequence[int]) -> Trajectory:
    number = int(frames["episode_index"][0])
    obs, applied = (_vectors(frames[name]) for name in (STATE, ACTION))
    steps = len(obs) - 1
    reward = frames.get("next.reward", np.full(len(obs), np.nan, dtype=np.float32))
    sense_ns = frames.get("sense_ns")
    if sense_ns is None:
        sense_ns = np.rint(frames["timestamp"].astype(np.float64) * 1e9)
    ended = frames.get("next.terminated", np.zeros(1, dtype=bool))
    return Trajectory(
        episode=recorded[number] if recorded else number,
        obs=obs,
        applied=applied[:-1],
        reward=reward[:steps].astype(np.float32),
        terminated=bool(ended[-1]),
        sense_ns=sense_ns.astype(np.int64),
        act_ns=frames.get("act_ns", np.empty(0))[:steps].astype(np.int64),
    )


def _vectors(values: NDArray[Any]) -> FloatArray:
    return np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32)
