"""Pictures of a run: which moments, and where they go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import load_robot_spec
from sim_harness.hil import pictures
from sim_harness.hil.faults import Drop
from sim_harness.hil.pictures import Album, Picture, album_of
from sim_harness.hil.report import Course, report
from sim_harness.hil.scenario import Must, Scenario
from sim_harness.hil.suite import not_run
from sim_harness.hil.tape import OVER, STARTED, ZERO, Turned
from sim_harness.hil.truth import Truth
from sim_harness.hil.verdict import Story

CONFIGS = Path(__file__).parents[2] / "hw_configs"
SPEC = load_robot_spec(CONFIGS / "furuta.toml")
FAULT = Drop(at_s=0.5, for_s=0.5, share=0.5)
S = 1_000_000_000


class FalseCamera:
    """Shows nothing but the pose it was given."""

    def __init__(self, model: Any, width: int, height: int) -> None:
        self.size = height, width

    def __enter__(self) -> FalseCamera:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def take(self, qpos: np.ndarray) -> np.ndarray:
        return np.full((*self.size, 3), int(qpos[0]), np.uint8)


class NoCamera(FalseCamera):
    """Of a machine that cannot render."""

    def __enter__(self) -> FalseCamera:
        raise ConfigError("no pictures on this machine")


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "Camera", FalseCamera)


def made_truth(faults: int) -> Truth:
    turns = [Turned(1 * S, True, None, STARTED), Turned(2 * S, True, None, ZERO)]
    for index in range(faults):
        turns += [Turned((3 + index) * S, begins, FAULT) for begins in (True, False)]
    turns.append(Turned(9 * S, True, None, OVER))
    poses = [np.array([float(index), 0.0]) for index in range(len(turns))]
    time_s, zeros = np.arange(10.0), np.zeros((10, 1))
    return Truth(
        time_s, np.zeros((10, 2)), np.zeros((10, 2)), zeros, zeros, time_s < 0, turns, poses, 0
    )


def taken(faults: int, folder: Path) -> Album:
    return album_of(SPEC, CONFIGS, "nominal", made_truth(faults), folder)


@pytest.mark.usefixtures("camera")
def test_start_changes_and_end_are_shown(tmp_path: Path) -> None:
    album = taken(1, tmp_path)
    assert [picture.caption for picture in album.pictures] == [
        "0.00 s",
        "1.00 s: drop begins",
        "1.00 s: drop ends",
        "7.00 s",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"picture_{index}.png" for index in range(4)
    ]


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(("faults", "count"), [(0, 2), (1, 4), (12, 4)])
def test_of_many_changes_the_first_are_shown_and_always_the_end(
    faults: int, count: int, tmp_path: Path
) -> None:
    captions = [picture.caption for picture in taken(faults, tmp_path).pictures]
    assert len(captions) == count
    assert (captions[0], captions[-1]) == ("0.00 s", "7.00 s")


def test_where_nothing_renders_the_report_says_why(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pictures, "Camera", NoCamera)
    album = taken(1, tmp_path)
    assert album == Album([], "no pictures on this machine")
    assert "<p>no pictures on this machine</p>" in page(album)


def test_the_report_holds_its_pictures() -> None:
    shown = page(Album([Picture("0.00 s: <drop>", b"png")]))
    assert 'src="data:image/png;base64,cG5n"' in shown
    assert "0.00 s: &lt;drop&gt;" in shown


@pytest.mark.usefixtures("camera")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write the pictures"):
        taken(1, tmp_path / "nowhere")


def page(album: Album) -> str:
    scenario = Scenario("calm", "", Must(end=["RUN"]))
    story = Story([], "RUN", None, 0)
    course = Course(scenario, not_run(scenario, ""), made_truth(0), story, album)
    return report(SPEC, [course])
