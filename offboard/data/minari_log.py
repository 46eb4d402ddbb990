"""Logs as Minari datasets: HDF5, written and read by Minari's own classes.

Minari knows no gaps, so every trajectory is an episode of its own; one that the log merely leaves
is truncated. What Minari has no place for stands in the infos (times) and the metadata (names).
Source: FLEET.md § 7; minari 0.5.4, ``MinariStorage``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from offboard.data.extra import extra
from offboard.data.trajectory import Log, Trajectory
from protocol.errors import ConfigError, StoreError

_OURS = "wombet"
_SPACES = ("observation_space", "action_space")


def write_minari(log: Log, out: Path) -> None:
    """Write ``log`` to the new dataset ``out``, whose name has a version: ``swing-up-v0``.

    Found by ``minari.load_dataset(out.name)`` where ``MINARI_DATASETS_PATH`` is ``out.parent``.

    Raises:
        StoreError: it cannot be written, for example because it exists.
        ConfigError: its name has no version, or minari is not installed.
    """
    if not re.fullmatch(r"[-\w]+-v\d+", out.name):
        raise ConfigError(f"Minari wants a version in the name: {out.name}-v0")
    minari = extra("minari")
    O, A = log.trajectories[0].obs.shape[1], log.trajectories[0].applied.shape[1]
    try:
        (out / "data").mkdir(parents=True)
        storage = extra("minari.dataset.minari_storage").MinariStorage.new(
            out / "data",
            observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (O,), np.float32),
            action_space=gymnasium.spaces.Box(-1.0, 1.0, (A,), np.float32),
            data_format="hdf5",
        )
        storage.update_metadata(
            {**_metadata(log), "dataset_id": out.name, "minari_version": minari.__version__}
        )
        buffer = extra("minari.data_collector").EpisodeBuffer
        storage.update_episodes([buffer(**_episode(part)) for part in log.trajectories])
    except (OSError, ValueError) as error:
        raise StoreError(f"{out} cannot be written as a Minari dataset ({error})") from error


def read_minari(path: Path) -> Log:
    """The dataset ``path``, of our making or not.

    Raises:
        StoreError: it is none, or would have code run to say what its columns are.
        ConfigError: minari is not installed.
    """
    data = path / "data" if (path / "data").is_dir() else path
    metadata = _checked(data)
    try:
        dataset = extra("minari").MinariDataset(data)
        parts = [_trajectory(episode, path) for episode in dataset.iterate_episodes()]
    except (OSError, ValueError, LookupError, AssertionError) as error:
        raise StoreError(f"{path} cannot be read as a Minari dataset ({error})") from error
    ours = metadata.get(_OURS, {})
    return Log(
        origin=str(path),
        robot=str(ours.get("robot", "")),
        columns=tuple(ours.get("columns", ())),
        actions=tuple(ours.get("actions", ())),
        control_hz=float(ours.get("control_hz", 0.0)),
        task=str(ours.get("task", "")),
        trajectories=tuple(parts),
    )


def _metadata(log: Log) -> dict[str, Any]:
    ours = {
        "robot": log.robot,
        "columns": list(log.columns),
        "actions": list(log.actions),
        "control_hz": log.control_hz,
        "task": log.task,
    }
    return {"description": f"{log.task} by {log.robot}, as applied and as measured", _OURS: ours}


def _episode(part: Trajectory) -> dict[str, Any]:
    last = np.zeros(part.steps, dtype=bool)
    last[-1] = True
    return {
        "observations": part.obs,
        "actions": part.applied,
        "rewards": part.reward,
        "terminations": last & part.terminated,
        "truncations": last & (not part.terminated),
        "infos": {
            "sense_ns": part.sense_ns,
            "act_ns": part.act_ns,
            "recorded_episode": np.full(part.steps + 1, part.episode),
        },
    }


def _trajectory(episode: Any, path: Path) -> Trajectory:
    obs, applied = (
        _table(values, name, path)
        for values, name in ((episode.observations, "observations"), (episode.actions, "actions"))
    )
    if len(obs) != len(applied) + 1:
        raise StoreError(
            f"{path}: episode {episode.id} has {len(obs)} observations for {len(applied)} actions"
        )
    infos: Mapping[str, Any] = episode.infos or {}
    number = infos.get("recorded_episode", [episode.id])[0]
    sense_ns, act_ns = (
        np.asarray(infos.get(name, ()), dtype=np.int64) for name in ("sense_ns", "act_ns")
    )
    return Trajectory(
        episode=int(number),
        obs=obs,
        applied=applied,
        reward=np.asarray(episode.rewards, dtype=np.float32),
        terminated=bool(episode.terminations[-1]),
        sense_ns=sense_ns,
        act_ns=act_ns,
    )


def _table(values: Any, name: str, path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        raise StoreError(f"{path}: its {name} are no plain vectors; flatten them before importing")
    return np.ascontiguousarray(values, dtype=np.float32)


def _checked(data: Path) -> dict[str, Any]:
    """Metadata that names its spaces: without them Minari would construct the environment."""
    try:
        metadata: dict[str, Any] = json.loads((data / "metadata.json").read_text(encoding="utf-8"))
        missing = [name for name in _SPACES if name not in metadata]
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{data} holds no Minari metadata.json ({error})") from error
    if missing:
        raise StoreError(f"{data}/metadata.json lacks {missing[0]!r}; its environment is not run")
    return metadata
