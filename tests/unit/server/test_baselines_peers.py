"""Do the outside peers report on time, the same for equal seeds, and say what they lack?"""

from __future__ import annotations

import sys
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from offboard.baselines.peers import ALGORITHMS, train_peer
from offboard.rollout import Policy
from protocol.errors import ConfigError

EPISODE = 20


class Hill(gymnasium.Env):
    """The action is worth what it is; episodes last ``EPISODE`` steps."""

    observation_space = Box(-1.0, 1.0, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self) -> None:
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._left = EPISODE
        return self.observation_space.sample() * 0.0, {}

    def step(self, action):
        self.steps += 1
        self._left -= 1
        return np.zeros(2, np.float32), float(action[0]), False, self._left == 0, {}


def evaluate(policy: Policy) -> float:
    return float(policy(np.zeros(2, np.float32))[0])


def rows(algorithm: str, budget: int, every: int, seed: int = 0) -> list[tuple[int, float]]:
    return list(train_peer(algorithm, Hill(), evaluate, budget, every, seed))


@pytest.fixture
def library() -> None:
    pytest.importorskip("stable_baselines3", reason="needs requirements/bench.txt")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rows_come_on_time_from_the_start_to_the_budget(algorithm: str) -> None:
    assert [step for step, _ in rows(algorithm, 90, 30)] == [0, 30, 60, 90]


@pytest.mark.usefixtures("library")
def test_no_step_is_taken_past_the_budget_even_by_whom_collects_long_rollouts() -> None:
    env = Hill()
    list(train_peer("ppo", env, evaluate, 50, 25, seed=0))
    assert env.steps == 50


@pytest.mark.usefixtures("library")
def test_a_row_is_there_before_the_next_is_learned() -> None:
    env, seen = Hill(), []
    for step, _ in train_peer("td3", env, evaluate, 60, 20, seed=0):
        seen.append((step, env.steps))
    assert [taken for step, taken in seen[1:]] == [20, 40, 60]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_they_learn_what_pays(algorithm: str) -> None:
    returns = [value for _, value in rows(algorithm, 180, 60)]
    assert returns[-1] > returns[0] + 0.2


@pytest.mark.usefixtures("library")
def test_equal_seeds_give_equal_rows() -> None:
    first, again, other = (rows("sac", 120, 40, seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert all(a != b for a, b in pairwise(first[2:]))


def test_an_unknown_peer_is_refused() -> None:
    with pytest.raises(ConfigError, match="peers are sac, td3, ppo"):
        rows("dqn", 10, 5)


def test_without_the_library_it_says_which_file_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ConfigError, match=r"requirements/bench\.txt"):
        rows("sac", 10, 5)
