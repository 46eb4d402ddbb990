"""A log as LeRobotDataset v3: parquet tables and JSON, laid out as that format's reader wants them.

A trajectory is an episode; its T + 1 frames are the observations, and the final one, whose action
nobody took, repeats the last action. ``timestamp`` is measured seconds
since the episode's first frame; ``sense_ns`` and ``act_ns`` carry the times unrounded. LeRobot
indexes by frame, never by that time, so measured times do no harm.
Source: lerobot 0.4.4, ``datasets/utils.py`` and ``lerobot_dataset.py`` (codebase version v3.0).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offboard.data.extra import extra
from offboard.data.trajectory import Log, Trajectory
from protocol.errors import StoreError

FILE_BYTES = 100_000_000
"""Of frames as they are in memory; the format's own limit for a file."""
FILES_PER_CHUNK = 1000
STATE, ACTION = "observation.state", "action"
_DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
SCALARS = {
    "next.reward": "float32",
    "next.done": "bool",
    "next.terminated": "bool",
    "sense_ns": "int64",
    "act_ns": "int64",
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

Columns = dict[str, NDArray[Any]]
"""Frames (F, …) by feature name."""
Place = tuple[int, int]
"""Chunk and file."""


def write_lerobot(log: Log, out: Path) -> None:
    """Write ``log``, which has at least one step, to the new dataset ``out``.

    Raises:
        StoreError: it cannot be written, for example because it exists.
        ConfigError: pyarrow is not installed.
    """
    arrow, parquet = extra("pyarrow"), extra("pyarrow.parquet")
    episodes = [*_episodes(log.trajectories)]
    places = _places(episodes)
    try:
        (out / _EPISODES_PATH).parent.mkdir(parents=True)
        for place, group in groupby(zip(places, episodes, strict=True), key=lambda pair: pair[0]):
            path = out / _DATA_PATH.format(chunk_index=place[0], file_index=place[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(_table([frames for _, frames in group]), path)
        rows = [
            _episode_row(part, frames, place, log.task)
            for part, frames, place in zip(log.trajectories, episodes, places, strict=True)
        ]
        parquet.write_table(arrow.Table.from_pylist(rows), out / _EPISODES_PATH)
        parquet.write_table(_tasks(log.task), out / "meta/tasks.parquet")
        every = {
            name: np.concatenate([frames[name] for frames in episodes]) for name in episodes[0]
        }
        _write_json(out / "meta/stats.json", _statistics(every))
        _write_json(out / "meta/info.json", _info(log, rows))
    except OSError as error:
        raise StoreError(f"{out} cannot be written as a LeRobotDataset ({error})") from error


def _episodes(parts: Sequence[Trajectory]) -> Iterator[Columns]:
    begun = 0
    for number, part in enumerate(parts):
        frames = part.steps + 1
        final = np.arange(frames) == frames - 1
        yield {
            STATE: part.obs,
            ACTION: part.applied[_held(part.steps)],
            "next.reward": np.append(part.reward, np.float32(0.0)),
            "next.done": final,
            "next.terminated": final & part.terminated,
            "sense_ns": part.sense_ns,
            "act_ns": np.append(part.act_ns, part.sense_ns[-1:]),
            "timestamp": ((part.sense_ns - part.sense_ns[0]) / 1e9).astype(np.float32),
            "frame_index": np.arange(frames),
            "episode_index": np.full(frames, number),
            "index": np.arange(begun, begun + frames),
            "task_index": np.zeros(frames, dtype=np.int64),
        }
        begun += frames


def _held(steps: int) -> NDArray[np.int64]:
    """Indices 0 … T-1, T-1."""
    return np.minimum(np.arange(steps + 1), steps - 1)


def _places(episodes: Sequence[Columns]) -> list[Place]:
    """Where each episode's frames go: a file takes no more once it holds ``FILE_BYTES``."""
    sizes = [sum(values.nbytes for values in frames.values()) for frames in episodes]
    before = np.cumsum([0, *sizes[:-1]])
    return [divmod(int(size) // FILE_BYTES, FILES_PER_CHUNK) for size in before]


def _table(episodes: Sequence[Columns]) -> Any:
    """One arrow table; a vector of one is a plain number, as the format has it."""
    arrow = extra("pyarrow")
    arrays = {}
    for name in episodes[0]:
        values = np.concatenate([frames[name] for frames in episodes])
        flat = arrow.array(values.reshape(-1))
        wide = values.ndim == 2 and values.shape[1] > 1
        arrays[name] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1]) if wide else flat
    return arrow.table(arrays)


def _episode_row(part: Trajectory, frames: Columns, place: Place, task: str) -> dict[str, Any]:
    statistics = {
        f"stats/{feature}/{name}": value
        for feature, found in _statistics(frames).items()
        for name, value in found.items()
    }
    return {
        "episode_index": int(frames["episode_index"][0]),
        "recorded_episode": part.episode,
        "tasks": [task],
        "length": len(frames["index"]),
        "data/chunk_index": place[0],
        "data/file_index": place[1],
        "dataset_from_index": int(frames["index"][0]),
        "dataset_to_index": int(frames["index"][-1]) + 1,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        **statistics,
    }


def _statistics(frames: Columns) -> dict[str, dict[str, list[float]]]:
    """Per feature: least, most, mean, deviation, count and quantiles of each of its numbers."""
    found = {}
    for feature, values in frames.items():
        numbers = values.reshape(len(values), -1).astype(np.float64)
        found[feature] = {
            "min": numbers.min(0).tolist(),
            "max": numbers.max(0).tolist(),
            "mean": numbers.mean(0).tolist(),
            "std": numbers.std(0).tolist(),
            "count": [len(numbers)],
            **{name: np.quantile(numbers, q, axis=0).tolist() for name, q in _QUANTILES.items()},
        }
    return found


def _tasks(task: str) -> Any:
    """The table of task names, with the note by which pandas knows that the name is the index."""
    arrow = extra("pyarrow")
    table = arrow.table({"task_index": arrow.array([0]), "__index_level_0__": arrow.array([task])})
    named = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    note = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [{"name": None, "field_name": None, **named}],
        "columns": [
            {"name": "task_index", "field_name": "task_index", **number},
            {"name": None, "field_name": "__index_level_0__", **named},
        ],
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(note)})


def _info(log: Log, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = {STATE: log.columns, ACTION: log.actions}
    vectors = {
        name: {"dtype": "float32", "shape": [len(labels)], "names": list(labels)}
        for name, labels in names.items()
    }
    scalars = {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in SCALARS.items()}
    return {
        "codebase_version": "v3.0",
        "robot_type": log.robot,
        "total_episodes": len(rows),
        "total_frames": rows[-1]["dataset_to_index"],
        "total_tasks": 1,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": round(log.control_hz),
        "splits": {"train": f"0:{len(rows)}"},
        "data_path": _DATA_PATH,
        "video_path": None,
        "features": {**vectors, **scalars},
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")
