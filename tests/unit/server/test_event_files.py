"""Does TensorBoard's own reader find the curves of a run, live and afterwards?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offboard.event_files import FOLDER, mirrored, write_events
from offboard.run_dir import RunDir
from protocol.errors import StoreError

ROWS = [
    {"stage": "source", "step": 100, "episode_return": 7.0, "wall_s": 2.0},
    {"stage": "source", "step": 200, "episode_return": 9.0, "wall_s": 4.0, "alpha": 0.25},
]


def read(directory: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in accumulated(directory).Scalars(tag)]


def accumulated(directory: Path) -> Any:
    library = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = library.EventAccumulator(str(directory))
    found.Reload()
    return found


def test_a_finished_run_becomes_event_files(tmp_path: Path) -> None:
    write_events(tmp_path, ROWS, began_s=1_000.0)
    found = accumulated(tmp_path)
    assert sorted(found.Tags()["scalars"]) == [
        "eval/episode_return", "time/steps_per_s", "time/wall_s", "train/alpha",
    ]  # fmt: skip
    assert [event.wall_time for event in found.Scalars("eval/episode_return")] == [1_002.0, 1_004.0]
    assert read(tmp_path, "eval/episode_return") == [(100, 7.0), (200, 9.0)]


def test_a_run_that_goes_on_is_mirrored_from_its_first_row(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.log(**ROWS[0])
    with mirrored(run, wanted=True):
        run.log(**ROWS[1])
    run.log(step=300, episode_return=11.0)
    assert read(tmp_path / FOLDER, "eval/episode_return") == [(100, 7.0), (200, 9.0)]


def test_a_resumed_run_repeats_nothing(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for row in ROWS:
        with mirrored(run, wanted=True):
            run.log(**row)
    assert read(tmp_path / FOLDER, "eval/episode_return") == [(100, 7.0), (200, 9.0)]


def test_unless_it_is_wanted_nothing_is_written(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with mirrored(run, wanted=False):
        run.log(**ROWS[0])
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_event_files_are_not_written_twice(tmp_path: Path) -> None:
    write_events(tmp_path, ROWS, began_s=0.0)
    with pytest.raises(StoreError, match="holds event files already"):
        write_events(tmp_path, ROWS, began_s=0.0)
