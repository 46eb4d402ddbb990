"""Does training count its steps, keep the best snapshot, and go on from a checkpoint?"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from offboard.replay import Replay
from offboard.rollout import actor_policy, episode_return, mean_return, step_env
from offboard.sac import Sac, SacConfig
from offboard.train_online import OnlineConfig, TrainState, fresh_start, train_online
from protocol.errors import StoreError

pytestmark = pytest.mark.usefixtures("eager")

O, A, EPISODE = 2, 1, 7
CONFIG = OnlineConfig(
    env_steps=30, random_steps=10, updates_per_step=2, evaluate_every=10, evaluate_episodes=1
)


class Walk(gymnasium.Env):
    """A walk along a line: half of each step asked for is applied, every step is worth 1."""

    observation_space = Box(-np.inf, np.inf, (O,), np.float32)
    action_space = Box(-1.0, 1.0, (A,), np.float32)

    def __init__(self) -> None:
        self.resets: list[int | None] = []
        self.actions: list[float] = []

    def reset(self, *, seed=None, options=None):
        self.resets.append(seed)
        self.state = np.array([seed or 0.0, 0.0], dtype=np.float32)
        return self.state.copy(), {}

    def step(self, action):
        self.actions.append(float(action[0]))
        applied = (0.5 * action).astype(np.float32)
        self.state = self.state + np.array([applied[0], 1.0], dtype=np.float32)
        over = self.state[1] >= EPISODE
        return self.state.copy(), 1.0, False, bool(over), {"applied": applied}


class Verdict(Walk):
    """A judge's environment: one step per episode, worth the next of ``returns``."""

    def __init__(self, *returns: float) -> None:
        super().__init__()
        self.returns = [*returns]

    def step(self, action):
        following, _, _, _, info = super().step(action)
        return following, self.returns.pop(0), True, False, info


def make() -> Sac:
    return Sac(O, A, 0.9, SacConfig(width=4, batch=4))


def fresh(sac: Sac, seed: int = 0) -> TrainState:
    return fresh_start(sac.initial(seed), Replay(O, A, CONFIG.env_steps), seed)


def trained(env=None, judge=None, state=None, on_step=lambda _: None, seed: int = 3) -> TrainState:
    sac = make()
    state = state or fresh(sac)
    return train_online(env or Walk(), judge or Verdict(1, 2, 3), sac, state, CONFIG, seed, on_step)


def test_every_step_is_experience_and_after_the_random_ones_pays_for_updates() -> None:
    state = trained()
    assert state.step == len(state.replay) == 30
    assert float(state.sac.step) == 2 * 20


def test_what_was_applied_is_learned_from_not_what_was_asked() -> None:
    env = Walk()
    state = trained(env)
    asked = torch.tensor(env.actions)
    torch.testing.assert_close(state.replay.all().applied[:, 0], 0.5 * asked)


def test_the_first_actions_are_drawn_from_the_whole_range() -> None:
    env = Walk()
    trained(env)
    first = env.actions[:10]
    assert min(first) < -0.5
    assert max(first) > 0.5


def test_an_episode_that_is_over_begins_anew_without_a_seed() -> None:
    env = Walk()
    trained(env)
    assert env.resets == [3, None, None, None, None]


@pytest.mark.parametrize(
    ("returns", "best"), [((5, 9, 3), 20), ((9, 5, 3), 10), ((1, 2, 3), 30), ((5, 5, 3), 10)]
)
def test_the_best_snapshot_is_kept_not_the_last(returns, best: int) -> None:
    actors: dict[int, torch.Tensor] = {}
    state = trained(
        judge=Verdict(*returns), on_step=lambda s: actors.setdefault(s.step, s.sac.actor)
    )
    assert state.best_return == max(returns)
    assert state.latest == returns[-1]
    assert torch.equal(state.best.actor, actors[best])


def test_snapshots_are_judged_on_equal_starts() -> None:
    judge = Verdict(1, 2, 3)
    trained(judge=judge)
    assert len(set(judge.resets)) == 1


def test_the_last_step_is_judged_even_off_the_rhythm() -> None:
    judge = Verdict(1, 2)
    config = OnlineConfig(env_steps=12, random_steps=0, evaluate_every=10, evaluate_episodes=1)
    sac = make()
    state = train_online(Walk(), judge, sac, fresh(sac), config, 0)
    assert state.latest == 2


def test_equal_seeds_train_equally() -> None:
    ours, again, other = trained(), trained(), trained(seed=4)
    assert torch.equal(ours.sac.actor, again.sac.actor)
    assert not torch.equal(ours.sac.actor, other.sac.actor)


def test_a_checkpoint_brings_everything_back() -> None:
    saved: dict[str, torch.Tensor] = {}
    trained(on_step=lambda s: saved.update(s.tensors()) if s.step == 20 else None)
    state = TrainState.from_tensors(saved, Replay(O, A, CONFIG.env_steps))
    assert (state.step, len(state.replay), float(state.sac.step)) == (20, 20, 20.0)
    assert (state.latest, state.best_return) == (2.0, 2.0)
    assert torch.equal(state.generator.get_state(), saved["generator"])
    done = trained(judge=Verdict(7), state=state)
    assert (done.step, len(done.replay), done.best_return) == (30, 30, 7.0)


def test_a_resumed_run_does_not_repeat_its_first_episodes() -> None:
    saved: dict[str, torch.Tensor] = {}
    trained(on_step=lambda s: saved.update(s.tensors()) if s.step == 20 else None)
    env = Walk()
    trained(env, Verdict(7), TrainState.from_tensors(saved, Replay(O, A, 30)))
    assert env.resets[0] == 23


@pytest.mark.parametrize("name", ["sac.actor", "best.critic", "replay.obs", "generator", "numbers"])
def test_a_checkpoint_that_lacks_something_is_refused_by_name(name: str) -> None:
    tensors = trained().tensors()
    del tensors[name]
    with pytest.raises(StoreError, match=name):
        TrainState.from_tensors(tensors, Replay(O, A, 30))


def test_a_policy_without_a_generator_is_deterministic_and_with_one_explores() -> None:
    sac, obs = make(), np.ones(O, dtype=np.float32)
    flat = sac.initial(0).actor
    quiet, loud = actor_policy(sac.actor_space, flat), actor_policy(
        sac.actor_space, flat, torch.Generator().manual_seed(0)
    )  # fmt: skip
    assert quiet(obs) == quiet(obs)
    assert loud(obs) != loud(obs)
    assert quiet(obs).shape == (A,)


def test_a_return_is_the_sum_over_an_episode_and_a_mean_over_seeds() -> None:
    env = Walk()
    policy = actor_policy(make().actor_space, make().initial(0).actor)
    assert episode_return(env, policy, seed=5) == EPISODE
    assert mean_return(Verdict(1.0, 2.0, 6.0), policy, episodes=3, seed=0) == 3.0
    judge = Verdict(0.0, 0.0)
    mean_return(judge, policy, episodes=2, seed=8)
    assert judge.resets == [8, 9]


def test_a_step_is_a_transition_of_one() -> None:
    env = Verdict(0.25)
    obs, _ = env.reset(seed=1)
    transition, following, over = step_env(env, obs, np.array([0.8], dtype=np.float32))
    assert [column.shape for column in transition] == [(1, O), (1, A), (1,), (1, O), (1,)]
    assert transition.obs.tolist() == [[1.0, 0.0]]
    assert transition.following[0].tolist() == following.tolist()
    assert transition.applied[0, 0].item() == pytest.approx(0.4)
    assert (transition.reward.item(), transition.terminated.item(), over) == (0.25, 1.0, True)
