"""Are imagined trajectories whole, and dead ones worthless?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_learning import Line

from offboard.generate import GenerateConfig, Trajectories, draw_starts, generate, together
from offboard.replay import Batch

H, M, T = 3, 4, 6
CONFIG = GenerateConfig(trajectories=M, steps=T, explore_max=0.0)


class Stride:
    """A planner that takes these strides, the last one for ever; its plan is always 1, 2, 3."""

    def __init__(self, *strides: float) -> None:
        self.strides = strides
        self.plans: list[torch.Tensor] = []

    def plan(self, obs, mean):
        stride = self.strides[min(len(self.plans), len(self.strides) - 1)]
        self.plans.append(mean)
        plan = torch.arange(1.0, H + 1)[None, :, None].repeat(obs.shape[0], 1, 1)
        return torch.full((obs.shape[0], 1), stride), plan


def walked(
    starts: list[float],
    *strides: float,
    config: GenerateConfig = CONFIG,
    seed: int = 0,
) -> Trajectories:
    """Walks along a line that is worth 1 a step, doubtful by |x|, and ends beyond 2."""
    world = Line(torch.ones_like, torch.abs, lambda x: x > 2.0)
    starts_at = torch.tensor(starts)[:, None]
    return generate(
        Stride(*strides or (0.5,)),
        world,
        None,
        starts_at,
        H,
        config,
        torch.Generator().manual_seed(seed),
    )


def test_shapes_are_trajectories_by_steps() -> None:
    made = walked([0.0] * M)
    assert made.steps.obs.shape == made.steps.following.shape == (M, T, 1)
    assert made.steps.applied.shape == (M, T, 1)
    assert made.steps.reward.shape == made.step_uncertainty.shape == made.live.shape == (M, T)
    assert made.returns.shape == made.uncertainty.shape == (M,)


def test_each_step_begins_where_the_last_one_led() -> None:
    made = walked([-1.0, -2.0])
    assert torch.equal(made.steps.obs[:, 1:], made.steps.following[:, :-1])
    assert made.steps.obs[0, :, 0].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5]
    assert made.steps.obs[:, 0, 0].tolist() == [-1.0, -2.0]


def test_a_trajectory_that_ends_gains_nothing_more_and_stays() -> None:
    made = walked([1.2, -9.0])  # 1.7, then 2.2: the end, at the second step
    assert made.steps.reward[0].tolist() == [1, 1, 0, 0, 0, 0]
    assert made.returns.tolist() == [2.0, 6.0]
    assert made.live[0].tolist() == [True, True, False, False, False, False]
    assert made.live[1].all()
    assert made.steps.obs[0, 2:].unique().numel() == 1


def test_nobody_rises_from_the_dead() -> None:
    made = walked([1.2], 0.5, 0.5, 0.0)  # the last steps of the dead lead to no end
    assert made.steps.terminated[0].tolist() == [0, 1, 0, 0, 0, 0]
    assert made.returns.tolist() == [2.0]
    assert int(made.live.sum()) == 2


def test_uncertainty_is_the_mean_over_the_live_steps() -> None:
    made = walked([1.2, -1.0])
    assert made.uncertainty.tolist() == pytest.approx(
        [(1.7 + 2.2) / 2, (0.5 + 0 + 0.5 + 1 + 1.5 + 2) / 6]
    )


def test_exploration_differs_between_trajectories_and_stays_in_range() -> None:
    config = replace(CONFIG, steps=200, explore_max=1.0)
    made = walked([-200.0] * 8, 0.0, config=config)
    boldness = made.steps.applied[:, :, 0].std(1)
    assert (made.steps.applied.abs() <= 1.0).all()
    assert float(boldness.max()) > 2.0 * float(boldness.min())


def test_equal_seeds_give_equal_trajectories() -> None:
    config = replace(CONFIG, explore_max=0.5)
    first, again = walked([0.0] * M, config=config), walked([0.0] * M, config=config)
    other = walked([0.0] * M, config=config, seed=1)
    assert torch.equal(first.steps.obs, again.steps.obs)
    assert not torch.equal(first.steps.obs, other.steps.obs)


def test_the_last_plan_is_shifted_by_one_tick() -> None:
    planner = Stride(0.0)
    world = Line(torch.ones_like)
    told: list[int] = []
    config = replace(CONFIG, steps=2)
    generate(planner, world, None, torch.zeros(1, 1), H, config, torch.Generator(), told.append)
    assert planner.plans[0].flatten().tolist() == [0, 0, 0]
    assert planner.plans[1].flatten().tolist() == [2, 3, 0]
    assert told == [1, 2]


def test_a_batch_of_trajectories_keeps_its_type() -> None:
    assert isinstance(walked([0.0]).steps, Batch)


def test_trajectories_begin_at_resets_and_anywhere_in_the_replay() -> None:
    resets, replay = torch.zeros(5, 1), torch.arange(1.0, 101.0)[:, None]
    config = GenerateConfig(trajectories=40, replay_starts=0.25)
    starts = draw_starts(resets, replay, config, torch.Generator().manual_seed(0))
    assert starts.shape == (40, 1)
    assert (starts[:30] == 0.0).all()
    assert starts[30:].unique().numel() >= 8
    assert (starts[30:] >= 1.0).all()


def test_trajectories_of_two_kinds_lie_one_after_the_other() -> None:
    first, second = walked([0.0, 1.9]), walked([-1.0])
    both = together([first, second])
    assert both.steps.obs.shape == (3, T, 1)
    assert torch.equal(both.live, torch.cat([first.live, second.live]))
    assert torch.equal(both.uncertainty, torch.cat([first.uncertainty, second.uncertainty]))
