"""Recorded episodes for the data tools: rows, the archive's files of them, and the log in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from made_records import ROBOT_FILE, SPEC, make_records

from offboard.data.recording import read_mcap
from offboard.data.trajectory import Log, judged
from offboard.mcap_archive import write_rows
from offboard.task_setup import load_task
from protocol.observation import Layout
from protocol.step_record import End, Rows

SETUP = load_task(ROBOT_FILE, "swing_up")
LAYOUT = Layout(SPEC)


def episode(number: int, steps: int = 20, end: End = End.TRUNCATED) -> Rows:
    """``steps`` + 1 rows whose times jitter and whose pendulum stays on the unit circle."""
    rows = make_records(number * (steps + 1), steps + 1)
    rows["episode"], rows["step"] = number, np.arange(steps + 1)
    rows["end"][-1] = end
    rng = np.random.default_rng(number)
    rows["sense_ns"] += rng.integers(0, 200_000, steps + 1)
    rows["act_ns"] = rows["sense_ns"] + rng.integers(100_000, 900_000, steps + 1)
    angle = rng.uniform(-np.pi, np.pi, steps + 1)
    rows["obs"][:, LAYOUT.column("cos:pendulum")] = np.cos(angle)
    rows["obs"][:, LAYOUT.column("sin:pendulum")] = np.sin(angle)
    return rows


def write_archive(folder: Path, episodes: list[Rows], robot: str = "r") -> Path:
    """The archive of ``episodes``."""
    (folder / robot).mkdir(parents=True, exist_ok=True)
    for rows in episodes:
        path = folder / robot / f"g001-e{int(rows['episode'][0]):06d}.mcap"
        write_rows(path, rows, SPEC, robot)
    return folder


def made_log(folder: Path, count: int = 3, steps: int = 20) -> Log:
    """What is read of an archive of ``count`` episodes, the first one terminated, judged."""
    ends = [End.TERMINATED] + [End.TRUNCATED] * (count - 1)
    episodes = [episode(number, steps, end) for number, end in enumerate(ends)]
    log = judged(read_mcap(write_archive(folder, episodes)), SETUP.judge)
    return replace(log, task="swing_up")


def assert_same(left: Log, right: Log) -> None:
    """Every number and time of both logs is the same."""
    assert (left.columns, left.actions, left.task) == (right.columns, right.actions, right.task)
    for a, b in zip(left.trajectories, right.trajectories, strict=True):
        assert (a.episode, a.terminated) == (b.episode, b.terminated)
        for field in ("obs", "applied", "reward", "sense_ns", "act_ns"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)
