"""Is the penalty chosen on fresh episodes, as much of them random as was asked for?"""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from made_learning import Line

from offboard.calibration import CalibrationConfig
from offboard.penalty import PenaltyConfig, calibrate, explored_episode

CONFIG = PenaltyConfig(
    episodes=24, fresh_episodes=8, steps=20, claim=CalibrationConfig(tightness_max=50.0)
)


class Walk(gymnasium.Env):
    """The line of ``made_learning``, worth 1 a step; begins at its seed, ends beyond ``edge``."""

    action_space = Box(-1.0, 1.0, (1,), np.float32)
    observation_space = Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(self, worth: float = 1.0, edge: float = np.inf) -> None:
        self.worth, self.edge = worth, edge
        self.seeds: list[int] = []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.x = 0.0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.x += float(action[0])
        over = self.x > self.edge
        seen = np.array([self.x], np.float32)
        return seen, self.worth, over, False, {"applied": np.asarray(action, np.float32)}


def still(obs):
    return np.zeros(1, np.float32)


def constant_doubt(state, obs, applied):
    return torch.full(obs.shape[:1], 0.5)


def calibrated(worth: float, config: PenaltyConfig = CONFIG, seed: int = 3):
    env = Walk(worth)
    model = Line(torch.ones_like)  # expects 1 a step
    return env, calibrate(env, still, model, None, constant_doubt, 5, 1.0, config, seed)


@pytest.mark.parametrize(("worth", "penalty"), [(1.0, 0.0), (0.8, 0.4), (0.5, 1.0)])
def test_the_penalty_makes_up_for_what_the_model_promises_too_much(worth, penalty) -> None:
    _, bound = calibrated(worth)
    assert bound.penalty == pytest.approx(penalty, abs=1e-5)
    assert bound.coverage == 1.0
    assert bound.horizon == 5


def test_every_episode_is_a_fresh_one() -> None:
    env, _ = calibrated(1.0)
    assert env.seeds == list(range(3, 3 + 24 + 8))


def test_too_few_episodes_support_no_penalty() -> None:
    _, bound = calibrated(0.5, replace(CONFIG, episodes=4))
    assert bound.penalty is None
    assert "too few" in bound.reason


def test_episodes_differ_in_how_much_of_them_is_random() -> None:
    rng = np.random.default_rng(0)
    made = [explored_episode(Walk(), still, 200, rng, seed=i) for i in range(20)]
    shares = [float((episode.applied != 0.0).float().mean()) for episode in made]
    assert min(shares) < 0.2
    assert max(shares) > 0.8


def test_an_episode_stops_at_its_end_or_at_the_steps_asked_for() -> None:
    def ahead(obs):
        return np.ones(1, np.float32)

    rng = np.random.default_rng(1)
    assert explored_episode(Walk(), still, 7, rng, seed=0).size == 7
    ended = explored_episode(Walk(edge=0.5), ahead, 50, rng, seed=0)
    assert ended.size < 50
    assert ended.terminated.tolist() == [0.0] * (ended.size - 1) + [1.0]
