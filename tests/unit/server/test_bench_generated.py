"""WOMBET's offline data as the benchmark makes it."""

from __future__ import annotations

import pytest
import torch

from offboard.bench.pairs import pair_named
from offboard.bench.source import Prior, generated
from offboard.bench.world import problem_of
from offboard.generate import GenerateConfig
from offboard.replay import Batch


@pytest.mark.usefixtures("eager")
def test_generated_data_are_transitions_of_the_pair_s_own_world() -> None:
    pair = pair_named("furuta")
    problem = problem_of(pair.source, pair.recipe.discount)
    O, A, N = problem.layout.size, problem.layout.action_size, 32
    g = torch.Generator().manual_seed(0)
    replay = Batch(
        torch.randn(N, O, generator=g), torch.zeros(N, A), torch.rand(N, generator=g),
        torch.randn(N, O, generator=g), torch.zeros(N),
    )  # fmt: skip
    model = problem.world_model(pair.recipe.model).initial(replay, seed=0)
    sac = problem.sac(pair.recipe.sac).initial(0)
    prior = Prior(sac, model, replay, replay.obs[:4], 1.0, 0.0, N)

    kept = generated(pair, problem, prior, seed=0, config=GenerateConfig(trajectories=8, steps=3))

    assert kept.obs.shape == (kept.size, O)
    assert kept.applied.shape == (kept.size, A)
    assert 0 < kept.size <= 8 * 3
