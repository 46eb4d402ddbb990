"""``wombet-offboard data export`` and ``data import``: recorded data in other people's formats."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from offboard.data.alignment import aligned
from offboard.data.catalogue import ARCHIVE, STORE
from offboard.data.lerobot_reader import read_lerobot
from offboard.data.lerobot_writer import write_lerobot
from offboard.data.minari_log import read_minari, write_minari
from offboard.data.recording import mcap_files, read_mcap, read_recording
from offboard.data.trajectory import Log, judged, measured_hz, starts, transitions
from offboard.episode_store import open_episode_store
from offboard.mcap_archive import archive_episodes
from offboard.replay import Batch
from offboard.run_dir import RunDir, entry, existing_run, open_run, pack, unpack
from offboard.task_setup import TaskSetup, load_task
from protocol.errors import ConfigError, StoreError

Format = Literal["mcap", "lerobot", "minari"]

_WRITERS: dict[str, Callable[[Log, Path], None]] = {
    "lerobot": write_lerobot,
    "minari": write_minari,
}
_READERS: dict[str, Callable[[Path], Log]] = {
    "mcap": read_mcap,
    "lerobot": read_lerobot,
    "minari": read_minari,
}


@dataclass(frozen=True)
class ExportConfig:
    """What to export and as what.

    Attributes:
        data: the --out of a serve run, or a file or folder of the archive.
        format: MCAP files are checked and copied as they are.
        robot: robot file; a run knows its own.
        task: whose reward the other formats carry; a run knows its own.
    """

    data: Path
    format: Format
    robot: Path | None = None
    task: str | None = None


@dataclass(frozen=True)
class ImportConfig:
    """What to import and which robot it is for.

    Attributes:
        data: file or folder.
        format: of the data.
        robot: the robot that shall learn from it.
        task: whose reward judges it.
        columns: names of the data's observation columns in order, if it has none or other ones.
        actions: names of its actions in order, likewise.
    """

    data: Path
    format: Format
    robot: Path
    task: str
    columns: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


class Imported(NamedTuple):
    """What an import left: transitions, and the first observations of its episodes (E, O)."""

    replay: Batch
    starts: Tensor


def run_export(config: ExportConfig, out: Path) -> dict[str, Any]:
    """Write everything that is archived or can be; returns how much that was.

    Raises:
        StoreError: there is nothing, it is damaged, or ``out`` exists.
        ConfigError: robot or task are not known, or a library is missing.
    """
    if out.exists():
        raise StoreError(f"{out} exists; choose another --out")
    archive = _archive(config)
    if config.format == "mcap":
        return _copy(archive, out)
    setup = load_task(*_robot_and_task(config))
    log = replace(judged(read_mcap(archive), setup.judge), task=setup.task)
    if log.steps == 0:
        raise StoreError(f"{config.data} holds no two neighbouring steps to export")
    _WRITERS[config.format](log, out)
    return {"trajectories": len(log.trajectories), "steps": log.steps}


def run_import(config: ImportConfig, out: Path) -> dict[str, Any]:
    """Check the data and keep it as transitions, which ``source-from-data`` learns from.

    Raises:
        StoreError: the data cannot be read or does not fit, naming the column; or ``out`` holds
            another run.
        ConfigError: robot or task are wrong, or a library is missing.
    """
    setup = load_task(config.robot, config.task)
    log = aligned(_READERS[config.format](config.data), setup.spec, config.columns, config.actions)
    replay = transitions(log, setup.judge)
    run = open_run(out, config, setup.files_sha256)
    run.save("imported", {**pack("replay", replay), "starts": starts(log)})
    return run.finish(
        {
            "episodes": len({part.episode for part in log.trajectories}),
            "trajectories": len(log.trajectories),
            "steps": log.steps,
            "measured_hz": measured_hz(log.trajectories),
            "reward_per_step": float(replay.reward.mean()),
            "terminated": int(replay.terminated.sum()),
        }
    )


def load_imported(path: Path, setup: TaskSetup) -> Imported:
    """A finished import. Raises StoreError if there is none or it is of another observation."""
    tensors = existing_run(path).load("imported")
    imported = Imported(unpack("replay", Batch, tensors), entry(tensors, "starts"))
    widths = imported.replay.obs.shape[1], imported.replay.applied.shape[1]
    if widths != (setup.layout.size, setup.layout.action_size):
        raise StoreError(f"{path} was imported for another robot; import it for {setup.spec.name}")
    return imported


def _archive(config: ExportConfig) -> Path:
    """Where the MCAP files are; those of a run are brought up to date first."""
    if not (config.data / STORE).exists():
        return config.data
    robot, task = _robot_and_task(config)
    setup = load_task(robot, task)
    try:
        store = open_episode_store(config.data / STORE, setup.spec)
    except StoreError as error:
        raise StoreError(f"{error}; while a server runs, name {config.data / ARCHIVE}") from error
    with closing(store):
        for unit in store.robots():
            archive_episodes(store, unit, setup.spec, config.data / ARCHIVE)
    return config.data / ARCHIVE


def _robot_and_task(config: ExportConfig) -> tuple[Path, str]:
    known = RunDir(config.data).config
    robot = config.robot or known.get("robot")
    task = config.task or known.get("task")
    if robot is None or task is None:
        raise ConfigError(f"{config.data} is no run; name --robot and --task, which give rewards")
    return Path(robot), str(task)


def _copy(archive: Path, out: Path) -> dict[str, Any]:
    root = archive.parent if archive.is_file() else archive
    files = mcap_files(archive)
    for file in files:
        read_recording(file)  # nothing damaged is passed on
        copy = out / file.relative_to(root)
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        except OSError as error:
            raise StoreError(f"{copy} cannot be written: {error}") from error
    return {"files": len(files)}
