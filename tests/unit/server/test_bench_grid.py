"""Does a grid run its cells, take up what is there, and report what fails?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from offboard.bench import cell as cells
from offboard.bench.cell import Cell, run_cell
from offboard.bench.grid import jobs, ready
from offboard.bench.outcome import gather, read_outcomes
from offboard.bench.pairs import Pair, pair_named
from offboard.model_state import ModelConfig
from offboard.sac import SacConfig
from offboard.switch import Course
from offboard.train_online import OnlineConfig
from protocol.errors import ConfigError, StoreError

pytestmark = pytest.mark.usefixtures("eager")

SHORT = OnlineConfig(
    env_steps=120, random_steps=60, updates_per_step=1, evaluate_every=120, evaluate_episodes=1
)

SLOW_LAST = ("furuta", "cheetah_front_thigh")


def tiny(budget_steps: int = 120) -> Pair:
    pair = pair_named("furuta")
    recipe = replace(
        pair.recipe,
        sac=SacConfig(width=8, batch=16),
        source=SHORT,
        expert=SHORT,
        model=ModelConfig(members=2, width=8, batch=16, check_every=10),
        model_steps=20,
        finetune=replace(
            pair.recipe.finetune, warmup_steps=40, adapt_every=40, adapt_steps=10,
            updates_per_step=1,
        ),
        budget_steps=budget_steps,
        evaluate_every=60,
        evaluate_episodes=1,
        judge_episodes=1,
    )  # fmt: skip
    return replace(pair, recipe=recipe)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the many episodes of the uncertainty figures, and with an expert that can be had."""
    monkeypatch.setattr(cells, "doubt", lambda *_: {"spearman_source": 0.5})
    monkeypatch.setattr(
        cells, "reference_of", lambda *_: cells.Reference(9.0, -1.0, source_gain=10.0)
    )


def test_a_cell_leaves_a_curve_and_a_result_and_is_not_run_twice(
    tmp_path: Path, quick: None
) -> None:
    rows: list[int] = []
    cell = Cell(tiny(), "ours", 0)
    first = run_cell(cell, tmp_path, lambda step, _: rows.append(step))
    assert rows == [0, 60, 120]
    assert first["threshold"] == pytest.approx(7.0)
    assert first["uncertainty"] == {"spearman_source": 0.5}
    assert first["mismatch"]["support"] >= 0.0
    assert first["switch"] in ("relabel", "ft", "scratch")
    assert run_cell(cell, tmp_path, lambda step, _: rows.append(step)) == json.loads(
        (cell.directory(tmp_path) / "result.json").read_text()
    )
    assert len(rows) == 3
    curves = gather(read_outcomes(tmp_path))["furuta", "ours"]
    assert curves.steps.tolist() == [0.0, 60.0, 120.0]


def test_the_planner_acts_once_the_model_knows_the_target(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offboard.finetune.decide", lambda *_: Course.RELABEL)
    result = run_cell(Cell(tiny(), "ours", 0), tmp_path)
    assert result["switch"] == "relabel"
    actor = run_cell(Cell(tiny(), "ours_actor", 0), tmp_path)
    curves = gather(read_outcomes(tmp_path))
    planned, acted = (curves["furuta", name].returns[0] for name in ("ours", "ours_actor"))
    assert planned[0] == acted[0]
    assert planned[-1] != acted[-1]
    assert "uncertainty" not in actor


@pytest.mark.parametrize("method", ["ft_kept", "ours_generated"])
def test_variants_of_ours_run(tmp_path: Path, quick: None, monkeypatch, method: str) -> None:
    monkeypatch.setattr(cells, "generated", lambda _, __, prior, ___: prior.replay)
    assert run_cell(Cell(tiny(), method, 0), tmp_path)["method"] == method


def test_a_longer_run_goes_on_past_the_pairs_budget(tmp_path: Path, quick: None) -> None:
    result = run_cell(Cell(tiny(budget_steps=60), "scratch_long", 0), tmp_path)
    curve = gather(read_outcomes(tmp_path))["furuta", "scratch_long"]
    assert (result["budget_steps"], curve.budget) == (300, 300.0)


def test_an_interrupted_cell_begins_its_curve_again(tmp_path: Path, quick: None) -> None:
    cell = Cell(tiny(), "scratch", 0)
    run_cell(cell, tmp_path)
    directory = cell.directory(tmp_path)
    (directory / "result.json").unlink()
    run_cell(cell, tmp_path)
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 60, 120]


def test_the_same_seed_gives_the_same_curve(tmp_path: Path, quick: None) -> None:
    curves = []
    for name in ("a", "b"):
        run_cell(Cell(tiny(), "ft", 1), tmp_path / name)
        curves.append(gather(read_outcomes(tmp_path / name))["furuta", "ft"].returns.tolist())
    assert curves[0] == curves[1]


def test_another_budget_in_the_same_directory_is_refused(tmp_path: Path, quick: None) -> None:
    run_cell(Cell(tiny(), "ft", 0), tmp_path)
    with pytest.raises(StoreError, match="holds a run with another"):
        run_cell(Cell(tiny(budget_steps=60), "ft", 0), tmp_path)


def test_where_the_switch_relabels_ours_is_the_run_that_was_told_to(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lets the one cell be copied for the other."""
    monkeypatch.setattr("offboard.finetune.decide", lambda *_: Course.RELABEL)
    run_cell(Cell(tiny(), "ours", 0), tmp_path / "ours")
    run_cell(Cell(tiny(), "ours_always", 0), tmp_path / "told")
    by_itself = gather(read_outcomes(tmp_path / "ours"))["furuta", "ours"]
    told = gather(read_outcomes(tmp_path / "told"))["furuta", "ours_always"]
    assert by_itself.returns.tolist() == told.returns.tolist()


@pytest.mark.parametrize(("taken", "copied"), [(Course.RELABEL, True), (Course.FINETUNE, False)])
def test_a_run_of_that_course_is_copied_and_says_so(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, taken: Course, copied: bool
) -> None:
    monkeypatch.setattr("offboard.finetune.decide", lambda *_: taken)
    run_cell(Cell(tiny(), "ours", 0), tmp_path)
    rows: list[int] = []
    told = run_cell(Cell(tiny(), "ours_always", 0), tmp_path, lambda step, _: rows.append(step))
    assert told["method"] == "ours_always"
    assert told.get("same_run_as") == ("ours" if copied else None)
    assert rows == ([] if copied else [0, 60, 120])
    curves = gather(read_outcomes(tmp_path))
    assert curves["furuta", "ours_always"].steps.tolist() == [0.0, 60.0, 120.0]
    if copied:
        returns = [curves["furuta", name].returns.tolist() for name in ("ours", "ours_always")]
        assert returns[0] == returns[1]


def test_a_cell_waits_for_its_source_its_expert_and_the_run_it_may_repeat() -> None:
    cells_of_one = [Cell(tiny(), method, 3) for method in ("ours_always", "ours")]
    waiting = jobs(cells_of_one)
    assert [job.name for job in ready(waiting, set())] == ["source furuta 1000", "source furuta 3"]
    over = {"source furuta 1000", "source furuta 3"}
    assert [job.name for job in ready(waiting, over)][2:] == ["expert furuta"]
    over.add("expert furuta")
    assert [job.name for job in ready(waiting, over)][3:] == ["furuta ours 3"]
    over.add("furuta ours 3")
    assert ready(waiting, over) == waiting


def test_a_forced_course_alone_waits_for_nobody_elses_cell() -> None:
    waiting = jobs([Cell(tiny(), "ours_always", 0)])
    assert waiting[-1].needs == {"source furuta 0", "expert furuta"}


def test_the_longest_source_begins_first() -> None:
    names = [job.name for job in jobs([Cell(pair_named(n), "ft", 0) for n in SLOW_LAST])]
    assert names[0].startswith("source cheetah")


@pytest.mark.parametrize(("pair", "method"), [("furutta", "ft"), ("furuta", "magic")])
def test_an_unknown_name_lists_the_known(tmp_path: Path, pair: str, method: str) -> None:
    with pytest.raises(ConfigError, match="are \\["):
        run_cell(Cell(pair_named(pair), method, 0), tmp_path)
