"""Does MOPO's generation stay short, pay its penalty, and fade once the target speaks?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from made_bench import BEST, SMALL, A, O, bandit, chain, experience, greedy, make_bench
from torch import Tensor

from offboard.baselines.mopo import MopoConfig, deviation, make_mopo, penalised_rollouts
from offboard.bench.agent import Bench
from offboard.networks import actor_space
from offboard.replay import Batch
from offboard.sac import Sac, SacState
from offboard.world_model import Step
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

CONFIG = MopoConfig(updates=0, rollouts=8, rollouts_every=10)
ACTOR = actor_space(O, A, SMALL.width).view(torch.zeros(actor_space(O, A, SMALL.width).size))
END = 3.5


class Known(NamedTuple):
    """What the penalty reads of a model's state."""

    out_std: Tensor


STATE: Any = Known(torch.tensor([2.0, 0.5]))


class Walk:
    """x grows by 1 a step up to ``END``; the reward is that of the bandit.

    Two members are as unsure as x: the first of the first column, the second of the other.
    """

    action_size = A

    def imagine(self, state: Known, obs: Tensor, applied: Tensor, generator: object) -> Step:
        following = obs + 1.0
        reward = 1.0 - (applied[:, 0] - BEST) ** 2
        ended = (following[:, 0] > END).float()
        return Step(following, reward, ended, torch.zeros(obs.shape[0]))

    def predict(self, state: Known, obs: Tensor, applied: Tensor) -> tuple[Tensor, Tensor]:
        x = obs[:, :1].clamp_min(1e-6)
        tiny = torch.full_like(x, 1e-12)
        std = torch.stack([torch.cat([x, tiny], 1), torch.cat([tiny, x], 1)])  # (2, B, 2)
        return torch.zeros_like(std), 2.0 * std.log()


MODEL: Any = Walk()


def rollouts(config: MopoConfig, *starts: float) -> Batch:
    at = torch.tensor(starts)[:, None].expand(-1, O)
    return penalised_rollouts(MODEL, STATE, ACTOR, at, config, torch.Generator().manual_seed(0))


def world(replay: Batch, **changes: Any) -> Bench:
    return make_bench(replay, **{"model": MODEL, "model_state": STATE, **changes})


def test_the_penalty_is_the_largest_deviation_that_a_member_predicts_in_units_measured() -> None:
    obs = torch.tensor([[3.0, 0.0]])
    assert float(deviation(MODEL, STATE, obs, torch.zeros(1, A))) == pytest.approx(3.0 * 2.0)


def test_a_reward_is_what_the_model_says_less_its_penalty() -> None:
    made = rollouts(replace(CONFIG, penalty=0.25, horizon=1), 3.0)
    honest = 1.0 - (made.applied[:, 0] - BEST) ** 2
    torch.testing.assert_close(made.reward, honest - 0.25 * 6.0)


def test_a_rollout_is_as_long_as_the_horizon_and_branches_from_where_it_was_told() -> None:
    made = rollouts(replace(CONFIG, horizon=3), -9.0, -20.0)
    assert sorted(made.obs[:, 0].tolist()) == [-20.0, -19.0, -18.0, -9.0, -8.0, -7.0]


def test_nothing_is_imagined_after_a_termination() -> None:
    made = rollouts(replace(CONFIG, horizon=5), 2.0, 1.0)
    assert sorted(made.obs[:, 0].tolist()) == [1.0, 2.0, 2.0, 3.0, 3.0]
    assert made.terminated.sum() == 2.0


def test_all_rollouts_may_end_early() -> None:
    assert rollouts(replace(CONFIG, horizon=5), 3.0, 3.2).size == 2


def test_it_learns_in_the_model_which_action_pays() -> None:
    start = bandit(100, 0)._replace(reward=torch.zeros(100))  # the replay itself says nothing
    config = MopoConfig(
        updates=300, rollouts=100, rollouts_every=100, real_ratio=0.0, horizon=1, penalty=0.0
    )
    agent = make_mopo(world(start, discount=0.0), config)
    action = greedy(agent._sac.actor_space, agent.state.actor)
    assert float((action - BEST).abs().mean()) < 0.2


@pytest.mark.parametrize("warm", [True, False])
def test_it_starts_from_the_source_if_told_so(warm: bool) -> None:
    bench = world(bandit(20, 0))
    assert bench.source is not None
    agent = make_mopo(bench, replace(CONFIG, warm_start=warm))
    assert torch.equal(agent.state.actor, bench.source.actor) is warm


OLD = chain([0.0] * 30, start=-100.0)
NEW_FROM = 1_000.0


def test_online_what_was_imagined_fades_as_new_data_come(monkeypatch) -> None:
    agent = make_mopo(world(OLD), replace(CONFIG, updates=1, real_ratio=0.0))
    heard: list[Batch] = []
    update = agent._sac.update
    monkeypatch.setattr(
        agent._sac, "update", lambda s, b, noise: (heard.append(b), update(s, b, noise))[1]
    )
    experience(agent, chain([1.0] * 30, NEW_FROM))
    old = [float((batch.obs[:, 0] < NEW_FROM).float().mean()) for batch in heard]
    half_a_sample = 0.5 / SMALL.batch
    assert old[0] == pytest.approx(0.5 * 30 / (30 + 4), abs=half_a_sample)
    assert old[-1] == pytest.approx(0.5 * 30 / (30 + 30), abs=half_a_sample)


def test_a_minibatch_has_its_share_of_real_data(monkeypatch) -> None:
    heard: list[Batch] = []
    update = Sac._update
    monkeypatch.setattr(
        Sac, "_update", lambda self, s, b, noise: (heard.append(b), update(self, s, b, noise))[1]
    )
    real = OLD._replace(reward=torch.full((30,), 77.0))
    make_mopo(world(real), replace(CONFIG, updates=2, real_ratio=0.25))
    assert [int((batch.reward == 77.0).sum()) for batch in heard] == [8, 8]


def test_equal_seeds_give_equal_bits() -> None:
    def run() -> SacState:
        agent = make_mopo(world(OLD), replace(CONFIG, updates=3))
        experience(agent, chain([1.0] * 6, NEW_FROM))
        return agent.state

    for ours, again in zip(run(), run(), strict=True):
        assert torch.equal(ours, again)


@pytest.mark.parametrize(("lacking", "named"), [("source", "source run"), ("model_state", "model")])
def test_without_what_it_needs_it_says_so(lacking: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        make_mopo(world(OLD, **{lacking: None}))
