"""Are runs put beside each other by configuration and seed, on a page that stands alone?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_cells import write_method

from offboard.compare.groups import Topic, differences, grouped
from offboard.compare.page import page
from offboard.compare.recorded import read_runs
from offboard.stages.report import run_report
from protocol.errors import ConfigError, StoreError

STEPS = (100, 200, 300)


def write_source(
    path: Path, seed: int = 0, lr: float = 1e-3, lift: float = 0.0, commit: str = "abc",
    steps: tuple[int, ...] = STEPS, finished: bool = True,
) -> Path:  # fmt: skip
    """A source run that was never made; it earns its steps/100 and ``lift``."""
    path.mkdir(parents=True)
    config = {
        "robot": "r.toml", "task": "swing_up", "seed": seed, "model_steps": 9, "sac": {"lr": lr},
        "online": {"env_steps": 300}, "inputs": "1" * 64, "ray": None if seed else "auto",
    }  # fmt: skip
    (path / "config.json").write_text(json.dumps({"config": config, "commit": commit}))
    rows = [{"stage": "source", "step": s, "episode_return": s / 100 + lift} for s in steps]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if finished:
        result = {"env_steps": 300, "expert_return": 3.0 + lift, "note": "text", "ok": True}
        (path / "result.json").write_text(json.dumps(result))
    return path


def groups_of(*paths: Path) -> list[Any]:
    (groups,) = grouped([run for path in paths for run in read_runs(path)]).values()
    return groups


def test_seeds_of_one_configuration_are_one_group(tmp_path: Path) -> None:
    (group,) = groups_of(*(write_source(tmp_path / str(s), seed=s) for s in (2, 0, 1)))
    assert [run.seed for run in group.runs] == [0, 1, 2]


def test_another_setting_is_another_group_named_after_it(tmp_path: Path) -> None:
    fast, slow = write_source(tmp_path / "a"), write_source(tmp_path / "b", lr=3e-4)
    groups = groups_of(fast, slow)
    assert [group.label for group in groups] == ["lr 0.001", "lr 0.0003"]
    assert differences(groups) == {"sac.lr": [1e-3, 3e-4]}


def test_another_commit_is_another_group_unless_the_folder_is_the_same(tmp_path: Path) -> None:
    one = write_source(tmp_path / "x" / "a", commit="abc")
    two = write_source(tmp_path / "x" / "b", seed=1, commit="def")
    assert [group.label for group in groups_of(one, two)] == ["abc", "def"]
    assert len(groups_of(tmp_path / "x")) == 1


def test_a_curve_is_the_mean_over_seeds_with_an_interval_around_it(tmp_path: Path) -> None:
    runs = [write_source(tmp_path / str(s), seed=s, lift=float(s)) for s in range(5)]
    (group,) = groups_of(*runs)
    band = group.band("eval/episode_return")
    assert band.steps.tolist() == [100.0, 200.0, 300.0]
    assert band.mean.tolist() == [3.0, 4.0, 5.0]
    low, high = band.ci95
    assert (low < band.mean).all()
    assert (high > band.mean).all()
    assert group.number("expert_return").value == 5.0
    assert group.last("eval/episode_return").value == 5.0


def test_seeds_judged_at_other_steps_are_compared_where_all_have_been(tmp_path: Path) -> None:
    runs = [
        write_source(tmp_path / "a", steps=(100, 300)),
        write_source(tmp_path / "b", seed=1, steps=(50, 150, 250), lift=2.0),
    ]
    (group,) = groups_of(*runs)
    band = group.band("eval/episode_return")
    assert band.steps.tolist() == [100.0, 150.0, 250.0]
    np.testing.assert_allclose(band.mean, [2.0, 2.5, 3.5])


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    (group,) = groups_of(write_source(tmp_path / "a"))
    assert group.band("eval/episode_return").ci95 is None
    assert group.number("expert_return").ci95 is None


def test_a_benchmark_is_its_finished_cells_by_pair_and_method(tmp_path: Path) -> None:
    for method in ("ft", "ours"):
        write_method(tmp_path, "furuta", method, [0.0, 10.0, 20.0, 30.0, 40.0])
    topics = grouped(read_runs(tmp_path))
    assert [*topics] == [Topic("cell", "")]
    assert [group.label for group in topics["cell", ""]] == ["method ft", "method ours"]
    assert [len(group.runs) for group in topics["cell", ""]] == [5, 5]


def test_an_unfinished_run_is_shown_as_such(tmp_path: Path) -> None:
    text = page(grouped(read_runs(write_source(tmp_path / "a", finished=False))))
    assert "0 of 1 seed finished" in text
    assert "unfinished" in text


def test_the_page_stands_alone_and_takes_no_text_for_markup(tmp_path: Path) -> None:
    evil = write_source(tmp_path / "<script>alert(1)<", commit="<script>")
    out = tmp_path / "new" / "report.html"
    assert run_report([evil, write_source(tmp_path / "b", lr=0.5)], out) == 2
    text = out.read_text()
    assert "<script" not in text
    links = re.findall(r'(?:href|src)="([^"]*)"', text) + re.findall(r"url\(([^)]*)\)", text)
    assert all(link.startswith("#") for link in links)
    assert text.count("<svg") == 1
    assert "<td>sac.lr</td><td>0.001</td><td>0.5</td>" in text


def test_runs_become_event_files_that_tensorboard_reads(tmp_path: Path) -> None:
    library = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = write_source(tmp_path / "a")
    run_report([run], tmp_path / "r.html", tmp_path / "tb")
    found = library.EventAccumulator(str((tmp_path / "tb").joinpath(*run.parts[1:])))
    found.Reload()
    points = [(event.step, event.value) for event in found.Scalars("eval/episode_return")]
    assert points == [(100, 1.0), (200, 2.0), (300, 3.0)]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_what_is_no_run_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=f"{name} is no run"):
        run_report([tmp_path / name], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("file", ["metrics.jsonl", "config.json", "result.json"])
def test_a_damaged_run_is_refused_by_the_file(tmp_path: Path, file: str) -> None:
    run = write_source(tmp_path / "a")
    (run / file).write_text("{damaged\n{\n")
    with pytest.raises(StoreError, match=file):
        read_runs(run)


def test_no_run_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name at least one run"):
        run_report([], tmp_path / "r.html")
