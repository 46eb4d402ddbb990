"""Is a live cell the pair's recipe on the real processes, and is its result what it measured?

The processes themselves run in tests/e2e/test_closed_loop.py; here they are played.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, SMALL_SAC, A, O, linear_transitions
from made_live import CONTROL, PLANT, SERVED, SESSION

from offboard.bench import live, live_grid
from offboard.bench.cell import Cell
from offboard.bench.expert import Reference
from offboard.bench.grid import Done
from offboard.bench.live import LIVE_METHODS, LiveRecipe, live_method_named, run_live_cell
from offboard.bench.live_prior import write_nothing_generated, write_source
from offboard.bench.outcome import gather, read_outcomes
from offboard.bench.pairs import LIVE, lock_step_of, pair_named
from offboard.bench.source import Prior
from offboard.demo.processes import ProcessError
from offboard.evidence import Evidence
from offboard.model_state import ModelConfig
from offboard.run_dir import RunDir
from offboard.sac import Sac
from offboard.stages.generate import load_kept
from offboard.stages.source import load_source
from offboard.task_setup import load_task
from offboard.workers import Here
from offboard.world_model import WorldModel
from protocol.errors import ConfigError

DATA = linear_transitions(200, seed=0)
SETUP = load_task(Path(LIVE.source.options["robot"]), "swing_up")


def prior() -> Prior:
    """A source run that learned nothing."""
    sac = Sac(O, A, 0.98, SMALL_SAC).initial(seed=0)
    model = WorldModel(LAYOUT, JUDGE, SMALL_MODEL).initial(DATA, seed=0)
    return Prior(sac, model, DATA, DATA.obs[:4], 210.0, 5.0, 15_000)


def recipe(method: str, seed: int = 3) -> LiveRecipe:
    return LiveRecipe(Cell(LIVE, method, seed), LIVE_METHODS[method])


def test_it_shares_source_and_expert_with_the_pair_in_lock_step() -> None:
    assert lock_step_of(LIVE) == pair_named("furuta")
    assert pair_named(LIVE.name) == LIVE


def test_every_method_learns_with_the_pairs_recipe(tmp_path: Path) -> None:
    for method in LIVE_METHODS:
        config = live.serve_config(recipe(method), tmp_path, "tcp://127.0.0.1:1")
        assert config.sac == LIVE.recipe.target_sac
        same = replace(config.finetune, course=None, adapt_every=LIVE.recipe.finetune.adapt_every)
        assert same == replace(LIVE.recipe.finetune, course=None)
        assert config.session.target_steps == live.BUDGET_STEPS
        assert config.seed == 3


def test_methods_differ_in_what_they_say() -> None:
    told = {name: (method.policy, method.course) for name, method in LIVE_METHODS.items()}
    assert told == {
        "ours": ("planner", None),
        "ours_actor": ("actor", None),
        "ft": ("actor", "ft"),
        "raw": ("actor", "raw"),
    }


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="methods are"):
        live_method_named("scratch")


def test_serve_reads_the_benchmarks_source_as_it_is(tmp_path: Path) -> None:
    write_source(LIVE, prior(), SETUP, 3, tmp_path / "source")
    read = load_source(tmp_path / "source", SETUP)
    for made, found in zip((*prior().sac, *prior().model), (*read.sac, *read.model), strict=True):
        torch.testing.assert_close(found, made)
    torch.testing.assert_close(read.replay.obs, DATA.obs)
    assert ModelConfig(**read.config["model"]) == LIVE.recipe.model


def test_nothing_generated_is_nothing(tmp_path: Path) -> None:
    robot = Path(LIVE.source.options["robot"])
    write_nothing_generated(SETUP, robot, tmp_path / "source", tmp_path / "generate")
    kept = load_kept(tmp_path / "generate")
    assert (kept.obs.shape, kept.applied.shape) == ((0, O), (0, A))


class PlayedLoop:
    """Leaves what the processes leave after a session."""

    def __init__(self) -> None:
        self.runs = 0
        self.plant = PLANT
        self.finals = 5

    @contextlib.contextmanager
    def running(self, loop: live.Loop) -> Iterator[SimpleNamespace]:
        self.runs += 1
        episodes = [*SESSION[:4], *(SESSION[4:5] * self.finals)]
        self.status = SimpleNamespace(
            episodes=episodes, evidence=Evidence(2_000, 0.1, 0.4, 100, 7_000)
        )
        (loop.out / "plant.json").write_text(json.dumps(self.plant))
        serve = loop.out / "serve"
        serve.mkdir()
        run = RunDir(serve)
        run.log(event="published", version=9, online_steps=1_999.0)
        run.finish(SERVED)
        (loop.out / "logs").mkdir()
        (loop.out / "logs" / "onboard.log").write_text("control: policy 1 drives\n")
        yield SimpleNamespace(until=self.until, stop=lambda: CONTROL)

    def until(self, over, timeout_s: float) -> None:
        assert over(self.status) is (self.finals >= live.FINAL_EPISODES)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedLoop:
    played = PlayedLoop()
    monkeypatch.setattr(live, "source_of", lambda *_: prior())
    monkeypatch.setattr(live, "reference_of", lambda *_: Reference(209.0, 5.0, 206.0))
    monkeypatch.setattr(live, "running", played.running)
    monkeypatch.setattr(live, "read_status", lambda _: played.status)
    return played


def test_a_cell_leaves_two_points_and_how_the_loop_held(played: PlayedLoop, tmp_path) -> None:
    result = run_live_cell(Cell(LIVE, "ours", 3), tmp_path)
    curves = gather(read_outcomes(tmp_path))["furuta_live", "ours"]
    assert curves.steps.tolist() == [0.0, 2_000.0]
    assert curves.returns.tolist() == [[90.0, 190.0]]
    assert result["threshold"] == pytest.approx(5.0 + 0.8 * 204.0)
    told = result["live"]
    assert (told["policy"], told["learned_steps"], told["lost"]) == ("planner", 1_999, 2)
    assert told["evidence"]["updates"] == 7_000
    assert [e["total"] for e in told["episodes"]][:2] == [90.0, 100.0]


def test_a_finished_cell_is_not_flown_again(played: PlayedLoop, tmp_path: Path) -> None:
    cell = Cell(LIVE, "ft", 0)
    first = run_live_cell(cell, tmp_path)
    assert run_live_cell(cell, tmp_path) == json.loads(json.dumps(first))
    assert played.runs == 1


def test_a_cell_that_did_not_hold_is_flown_again(played: PlayedLoop, tmp_path: Path) -> None:
    cell = Cell(LIVE, "raw", 0)
    played.plant = {**PLANT, "realtime_factor": 0.5}
    with pytest.raises(ProcessError, match="of real time: run it again"):
        run_live_cell(cell, tmp_path)
    played.plant = PLANT
    run_live_cell(cell, tmp_path)
    lines = (cell.directory(tmp_path) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 2_000]


def test_a_session_that_did_not_get_there_is_told(played: PlayedLoop, tmp_path: Path) -> None:
    played.finals = 2
    with pytest.raises(ProcessError, match="2 of 5 final episodes"):
        run_live_cell(Cell(LIVE, "ours", 0), tmp_path)


def test_cells_come_one_after_another_and_one_that_fails_stops_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flown: list[tuple[str, str]] = []

    def fly(cell: Cell, out: Path, endpoint: str) -> None:
        flown.append((cell.method, endpoint))
        if cell.method == "ft":
            raise ProcessError("the battery is flat")

    monkeypatch.setattr(live_grid, "run_live_cell", fly)
    monkeypatch.setattr(live_grid, "run_jobs", lambda jobs, *_: [Done(j.name, False) for j in jobs])
    cells = [Cell(LIVE, method, 0) for method in ("ft", "ours")]
    done = list(live_grid.run_live_grid(cells, tmp_path, Here(), "tcp://127.0.0.1:1"))
    assert [d.what for d in done] == [
        "source furuta 1000", "source furuta 0", "expert furuta", "furuta_live ft 0",
        "furuta_live ours 0",
    ]  # fmt: skip
    assert [d.error for d in done if d.is_cell] == ["the battery is flat", None]
    assert flown == [("ft", "tcp://127.0.0.1:1"), ("ours", "tcp://127.0.0.1:1")]


def test_the_recipe_beside_a_cell_says_what_decides_it() -> None:
    assert asdict(recipe("ours"))["method"] == {"policy": "planner", "course": None}
