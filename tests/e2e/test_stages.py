"""Do the learning stages run one after another on the real rig, and go on where they stopped?

Budgets are tiny: this asks whether the stages fit together, not whether they learn.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from made_learning import SMALL_MODEL, SMALL_SAC, A, O
from made_records import ROBOT_FILE

from offboard.filter import FilterConfig
from offboard.generate import GenerateConfig, Trajectories
from offboard.penalty import PenaltyConfig
from offboard.planner import PlanConfig
from offboard.replay import Batch
from offboard.run_dir import RunDir
from offboard.stages import expert, source
from offboard.stages.expert import ExpertConfig, run_expert
from offboard.stages.generate import OfflineConfig, _chosen, load_kept, run_generate
from offboard.stages.source import SourceConfig, load_source, run_source
from offboard.task_setup import load_task
from offboard.train_online import OnlineConfig
from protocol.errors import ConfigError, StoreError
from protocol.observation import Layout

pytestmark = pytest.mark.usefixtures("eager")

SETUP = load_task(ROBOT_FILE, "swing_up")
ONLINE = OnlineConfig(
    env_steps=400, random_steps=150, updates_per_step=1, evaluate_every=100, evaluate_episodes=1
)
SOURCE = SourceConfig(
    robot=ROBOT_FILE,
    task="swing_up",
    model_steps=150,
    holdout_steps=100,
    sac=SMALL_SAC,
    online=ONLINE,
    model=SMALL_MODEL,
)


@pytest.fixture(scope="module", autouse=True)
def few_judgements():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "JUDGE_EPISODES", 2)
        patch.setattr(expert, "JUDGE_EPISODES", 2)
        yield


def crash_after_checkpoint(patch: pytest.MonkeyPatch, step: int) -> None:
    """The power fails right after the checkpoint of ``step`` was written."""
    save = RunDir.save

    def save_and_die(run: RunDir, name: str, tensors: dict[str, torch.Tensor]) -> None:
        save(run, name, tensors)
        if name == "training" and int(tensors["numbers"][0]) == step:
            raise KeyboardInterrupt

    patch.setattr(RunDir, "save", save_and_die)


def judged_at(run: Path, stage: str) -> list[int]:
    return [event["step"] for event in RunDir(run).metrics() if event["stage"] == stage]


@pytest.fixture(scope="module")
def finished(eager, few_judgements, tmp_path_factory) -> Path:
    """A source run that was cut off once and resumed."""
    out = tmp_path_factory.mktemp("stages") / "source"
    with pytest.MonkeyPatch.context() as patch:
        crash_after_checkpoint(patch, step=200)
        with pytest.raises(KeyboardInterrupt):
            run_source(SOURCE, out)
    assert judged_at(out, "source") == [100, 200]
    run_source(SOURCE, out)
    return out


def test_a_resumed_source_stage_goes_on_at_the_step_of_its_checkpoint(finished: Path) -> None:
    assert judged_at(finished, "source") == [100, 200, 300, 400]
    made = load_source(finished, SETUP)
    assert made.result["env_steps"] == 400
    assert float(made.sac.step) <= 250
    assert made.replay.size == 400


def test_the_source_stage_measures_what_the_summary_needs(finished: Path) -> None:
    result = load_source(finished, SETUP).result
    assert result.keys() == {
        "env_steps", "wall_s", "expert_return", "model_nmse", "uncertainty_error_spearman",
    }  # fmt: skip
    assert all(math.isfinite(value) for value in result.values())
    assert 0.0 <= result["expert_return"] <= 250.0
    held = RunDir(finished).load("uncertainty")
    assert held["error"].shape == held["uncertainty"].shape == (100,)


def test_start_states_are_those_of_the_rig(finished: Path) -> None:
    starts = load_source(finished, SETUP).starts
    assert starts.shape == (64, O)
    assert (starts[:, 1] < -0.9).all()  # hanging


def test_a_finished_stage_answers_at_once(finished: Path, monkeypatch) -> None:
    monkeypatch.setattr(source, "make_env", None)
    assert run_source(SOURCE, finished) == load_source(finished, SETUP).result


def test_a_finished_stage_of_another_seed_is_not_taken_for_this_one(finished: Path) -> None:
    with pytest.raises(StoreError, match="another seed"):
        run_source(replace(SOURCE, seed=1), finished)


def offline(finished: Path) -> OfflineConfig:
    return OfflineConfig(
        robot=ROBOT_FILE,
        task="swing_up",
        source=finished,
        executed=0.3,
        plan=PlanConfig(horizon=3),
        penalty=PenaltyConfig(episodes=30, fresh_episodes=5, steps=20),
        generate=GenerateConfig(trajectories=10, steps=20),
    )


def test_generation_imagines_filters_and_reports(finished: Path, tmp_path: Path) -> None:
    result = run_generate(offline(finished), tmp_path)
    assert (result["trajectories"], result["executed"]) == (10, 3)
    assert 0 <= result["kept_executed"] <= 3
    assert 4 <= result["kept"] <= 7
    kept = load_kept(tmp_path)
    assert 0 < kept.size <= 20 * result["kept"]
    assert kept.applied.shape[1] == A
    plane = RunDir(tmp_path).load("plane")
    passed = plane["kept"].bool()
    assert int(passed.sum()) == result["kept"]
    for name, column in (("return", "returns"), ("uncertainty", "uncertainty")):
        assert result[f"{name}_mean_all"] == pytest.approx(float(plane[column].mean()))
        assert result[f"{name}_mean_kept"] == pytest.approx(float(plane[column][passed].mean()))


def test_returns_are_reported_in_full_though_the_filter_sees_them_penalised() -> None:
    steps = torch.ones(3, 4)
    doubt = torch.tensor([[0.1], [0.5], [0.9]]).expand(3, 4)
    at = torch.zeros(3, 4, 1)
    made = Trajectories(Batch(at, at, steps, at, torch.zeros(3, 4)), doubt)
    config = FilterConfig(return_quantile=0.6, uncertainty_quantile=1.0, regions=0)
    chosen = _chosen(made, 2.0, 0.8, config)
    assert chosen.keep.tolist() == [True, False, False]
    assert chosen.returns.tolist() == pytest.approx([4.0, 4.0, 0.0])


def test_the_penalty_is_the_calibrated_one_where_there_is_a_bound(finished, tmp_path) -> None:
    result = run_generate(offline(finished), tmp_path / "asked")
    bound = result["bound"]
    assert bound["horizon"] == 3
    assert result["penalty"] == (1.0 if bound["penalty"] is None else bound["penalty"])
    few = PenaltyConfig(episodes=4, fresh_episodes=2, steps=20)
    for name, penalty in (("few", few), ("unasked", PenaltyConfig(episodes=0))):
        config = replace(offline(finished), plan=PlanConfig(horizon=3, penalty=0.7))
        result = run_generate(replace(config, penalty=penalty), tmp_path / name)
        assert result["penalty"] == 0.7
    assert result["bound"] is None


@pytest.mark.parametrize(("executed", "count"), [(0.0, 0), (1.0, 10)])
def test_all_or_nothing_may_be_executed(finished, tmp_path, executed: float, count: int) -> None:
    unasked = PenaltyConfig(episodes=0)
    config = replace(offline(finished), executed=executed, penalty=unasked)
    result = run_generate(config, tmp_path)
    assert result["executed"] == count
    assert result["kept_executed"] == (result["kept"] if count else 0)


def test_a_source_of_another_observation_is_refused_by_its_widths(finished: Path) -> None:
    shorter = msgspec.structs.replace(SETUP.spec, observation=SETUP.spec.observation[:-1])
    other = replace(SETUP, spec=shorter, layout=Layout(shorter))
    with pytest.raises(StoreError, match="made with 7 observations"):
        load_source(finished, other)


def test_a_refused_stage_leaves_no_run_behind(tmp_path: Path) -> None:
    config = OfflineConfig(ROBOT_FILE, "swing_up", tmp_path / "nothing")
    with pytest.raises(StoreError):
        run_generate(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no environment 'nowhere:Rig-v0'"):
        run_source(replace(SOURCE, env_id="nowhere:Rig-v0"), tmp_path)


def test_a_stage_without_a_finished_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no finished stage"):
        run_generate(offline(tmp_path / "nothing"), tmp_path / "generate")


def reference(finished: Path) -> ExpertConfig:
    online = replace(ONLINE, env_steps=200, random_steps=0)
    return ExpertConfig(
        robot=ROBOT_FILE,
        task="swing_up",
        body="target",
        source=finished,
        sac=SMALL_SAC,
        online=online,
    )


def test_a_resumed_expert_stage_goes_on_and_judges_both_policies(finished, tmp_path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        crash_after_checkpoint(patch, step=100)
        with pytest.raises(KeyboardInterrupt):
            run_expert(reference(finished), tmp_path)
    result = run_expert(reference(finished), tmp_path)
    assert judged_at(tmp_path, "expert") == [100, 200]
    assert result["env_steps"] == 200
    assert 0.0 <= result["zero_shot_return"] <= 250.0
    assert 0.0 <= result["expert_return"] <= 250.0


def test_an_expert_of_another_width_is_refused_with_the_remedy(finished, tmp_path) -> None:
    config = replace(reference(finished), sac=replace(SMALL_SAC, width=8))
    with pytest.raises(ConfigError, match=r"--sac\.width"):
        run_expert(config, tmp_path)


def test_a_task_or_body_that_does_not_exist_is_named(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="swing_up"):
        run_source(replace(SOURCE, task="juggle"), tmp_path / "a")
    with pytest.raises(ConfigError, match="nominal"):
        run_expert(replace(reference(finished), body="moon"), tmp_path / "b")
