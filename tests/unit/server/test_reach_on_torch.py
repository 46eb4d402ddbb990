"""Does a planner judge reaching as the robot does, and can the arm's task be a source?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_arm import ARM, load_arm
from made_learning import SMALL_MODEL, SMALL_SAC

from offboard.stages import source
from offboard.stages.source import SourceConfig, load_source, run_source
from offboard.task_setup import load_task
from offboard.train_online import OnlineConfig
from protocol.observation import Layout
from protocol.tasks import judge_for


def test_torch_judges_as_numpy_does() -> None:
    spec = load_arm()
    judge, rng = judge_for(spec, spec.task("reach")), np.random.default_rng(0)
    O, A = Layout(spec).size, Layout(spec).action_size
    obs, following = rng.uniform(-1.0, 1.0, (2, 500, O)).astype(np.float32)
    applied = rng.uniform(-1.0, 1.0, (500, A)).astype(np.float32)
    on_numpy = judge(obs, applied, following)
    on_torch = judge(*map(torch.from_numpy, (obs, applied, following)))
    assert on_torch.reward.numpy() == pytest.approx(on_numpy.reward, abs=1e-6)
    assert np.array_equal(on_torch.terminated.numpy(), on_numpy.terminated)
    assert 0.0 < on_numpy.terminated.mean() < 1.0


@pytest.mark.usefixtures("eager")
def test_the_source_stage_runs_on_the_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it learns is not asked: 250 steps."""
    monkeypatch.setattr(source, "JUDGE_EPISODES", 1)
    online = OnlineConfig(
        env_steps=250, random_steps=100, updates_per_step=1, evaluate_every=125, evaluate_episodes=1
    )
    config = SourceConfig(
        robot=ARM,
        task="reach",
        model_steps=50,
        holdout_steps=50,
        sac=SMALL_SAC,
        online=online,
        model=SMALL_MODEL,
    )
    result = run_source(config, tmp_path / "source")
    assert result["env_steps"] == 250
    assert 0.0 <= result["expert_return"] <= 150.0
    made = load_source(tmp_path / "source", load_task(ARM, "reach"))
    assert made.replay.obs.shape == (250, 20)
    assert made.replay.applied.shape == (250, 5)
