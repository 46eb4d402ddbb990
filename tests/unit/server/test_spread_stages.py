"""Do stages that are spread over workers give what they give in one process?"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_learning import SMALL_MODEL, SMALL_SAC
from made_records import ROBOT_FILE

from offboard.event_files import FOLDER
from offboard.generate import GenerateConfig
from offboard.penalty import PenaltyConfig
from offboard.planner import PlanConfig
from offboard.run_dir import RunDir
from offboard.stages import source
from offboard.stages.generate import OfflineConfig, run_generate
from offboard.stages.source import SourceConfig, load_source, run_source
from offboard.task_setup import load_task
from offboard.train_online import OnlineConfig
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

SOURCE = SourceConfig(
    robot=ROBOT_FILE, task="swing_up", model_steps=100, holdout_steps=50, sac=SMALL_SAC,
    online=OnlineConfig(
        env_steps=200, random_steps=100, updates_per_step=1, evaluate_every=100,
        evaluate_episodes=1,
    ),
    model=SMALL_MODEL, groups=2, tensorboard=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(eager: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source run whose ensemble was fitted in two groups."""
    out = tmp_path_factory.mktemp("spread") / "source"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "JUDGE_EPISODES", 1)
        run_source(SOURCE, out)
    return out


@pytest.fixture
def offline(made: Path) -> OfflineConfig:
    return OfflineConfig(
        robot=ROBOT_FILE, task="swing_up", source=made, executed=0.25,
        plan=PlanConfig(horizon=2), penalty=PenaltyConfig(episodes=0),
        generate=GenerateConfig(trajectories=8, steps=10), parts=2,
    )  # fmt: skip


def test_later_stages_take_an_ensemble_of_groups_like_any_other(made: Path) -> None:
    loaded = load_source(made, load_task(ROBOT_FILE, "swing_up"))
    model = load_task(ROBOT_FILE, "swing_up").world_model(SMALL_MODEL)
    assert loaded.model.weights.shape == (model.space.size,)
    assert math.isfinite(loaded.result["model_nmse"])


def test_a_source_run_tells_tensorboard_what_it_logs(made: Path) -> None:
    library = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = library.EventAccumulator(str(made / FOLDER))
    found.Reload()
    logged = [row for row in RunDir(made).metrics() if row["stage"] == "source"]
    points = [(event.step, event.value) for event in found.Scalars("eval/episode_return")]
    assert points == [(row["step"], pytest.approx(row["episode_return"])) for row in logged]
    assert {"train/critic_loss", "train/alpha", "time/steps_per_s"} <= {*found.Tags()["scalars"]}


def test_generation_in_parts_is_the_same_here_and_in_another_process(
    offline: OfflineConfig, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    results = [
        run_generate(offline, here),
        run_generate(replace(offline, processes=1), there),
    ]
    assert results[0] == results[1]
    for name in ("kept", "plane"):
        mine, theirs = RunDir(here).load(name), RunDir(there).load(name)
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_every_trajectory_is_made_once(offline: OfflineConfig, tmp_path: Path) -> None:
    result = run_generate(replace(offline, parts=3), tmp_path / "three")
    assert (result["trajectories"], result["executed"]) == (8, 2)
    assert RunDir(tmp_path / "three").load("plane")["returns"].unique().numel() == 8


def test_workers_without_parts_have_nothing_to_do(offline: OfflineConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--parts N"):
        run_generate(replace(offline, parts=None, processes=2), tmp_path / "none")
    with pytest.raises(ConfigError, match="--groups N"):
        run_source(replace(SOURCE, groups=None, ray="auto"), tmp_path / "none")
    assert not (tmp_path / "none").exists()
