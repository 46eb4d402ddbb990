"""Do simulators stepped side by side give what happened, and nothing after an end?"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from offboard.generate import GenerateConfig, act_out
from offboard.simulators import Simulators
from protocol.errors import ConfigError

T = 4


class Walk(gymnasium.Env):
    """A line: a step is worth where it leads, is at most 1 long, and leads over an edge at 2."""

    action_space = Box(-np.inf, np.inf, (1,), np.float32)
    observation_space = Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(self, episode_steps: int = T) -> None:
        self.episode_steps = episode_steps
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        self.x, self.steps = float(seed), 0
        return self._seen(), {}

    def step(self, action):
        applied = np.clip(action, -1.0, 1.0)
        self.x, self.steps = self.x + float(applied[0]), self.steps + 1
        over = self.x > 2.0
        return self._seen(), self.x, over, self.steps >= self.episode_steps, {"applied": applied}

    def _seen(self):
        return np.array([self.x], np.float32)


class Push:
    """A planner that always wants ``action``."""

    def __init__(self, action: float) -> None:
        self.action = action

    def plan(self, obs, mean):
        return torch.full((obs.shape[0], 1), self.action), mean


def doubt(state, obs, applied):
    return obs[:, 0] + applied[:, 0]


def simulators(count: int, **options: int) -> Simulators:
    return Simulators([Walk(**options) for _ in range(count)], doubt, None)


def acted(world: Simulators, starts: torch.Tensor, action: float, steps: int = T):
    config = GenerateConfig(trajectories=starts.shape[0], steps=steps, explore_max=0.0)
    return act_out(Push(action), world.step, starts, 1, 1, config, torch.Generator())


def test_each_simulator_begins_at_a_seed_of_its_own() -> None:
    assert simulators(3).reset(seed=-5)[:, 0].tolist() == [-5.0, -4.0, -3.0]


def test_what_really_happened_is_recorded_with_the_action_that_was_applied() -> None:
    world = simulators(2)
    made = acted(world, world.reset(seed=-9), action=0.5)
    assert made.steps.obs[0, :, 0].tolist() == [-9.0, -8.5, -8.0, -7.5]
    assert made.steps.following[0, :, 0].tolist() == [-8.5, -8.0, -7.5, -7.0]
    assert torch.equal(made.steps.reward, made.steps.following[..., 0])
    wide = simulators(1)
    obs = wide.reset(seed=0)
    assert wide.step(obs, torch.full((1, 1), 7.0)).applied.tolist() == [[1.0]]


def test_the_model_says_how_unsure_it_is_of_what_was_applied() -> None:
    world = simulators(1)
    step = world.step(world.reset(seed=0), torch.full((1, 1), 7.0)).step
    assert step.uncertainty.tolist() == [1.0]


def test_a_trajectory_that_ended_is_left_alone() -> None:
    world = simulators(2)
    made = acted(world, world.reset(seed=0), action=0.6)  # 0.6 … 2.4, and 1.6, 2.2
    assert made.steps.terminated[1].tolist()[:2] == [0.0, 1.0]
    assert made.live.tolist() == [[True] * T, [True, True, False, False]]
    assert made.steps.reward[1, 2:].tolist() == [0.0, 0.0]
    assert made.steps.obs[1, 2:].unique().numel() == 1


def test_a_new_episode_forgets_the_last_one() -> None:
    world = simulators(1)
    acted(world, world.reset(seed=1), action=1.0, steps=3)
    again = acted(world, world.reset(seed=-9), action=1.0)
    assert again.live.all()


def test_a_simulator_that_cuts_an_episode_short_is_named_with_the_remedy() -> None:
    world = simulators(2, episode_steps=2)
    with pytest.raises(ConfigError, match=r"--generate\.steps"):
        acted(world, world.reset(seed=-9), action=0.1, steps=3)
    assert acted(world, world.reset(seed=-9), action=0.1, steps=2).live.all()
