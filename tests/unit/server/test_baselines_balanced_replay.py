"""Does Balanced Replay learn which old data resemble the new, and draw them more?"""

from __future__ import annotations

import math

import pytest
import torch
from made_bench import BEST, DISCOUNT, SMALL, A, O, bandit, chain, experience, greedy, make_bench

from offboard.baselines.balanced_replay import (
    PRIORITY_MAX,
    PRIORITY_MIN,
    Balanced,
    BalancedAgent,
    BalancedConfig,
    Ratio,
    make_balanced_replay,
)
from offboard.replay import Batch, join
from offboard.sac import Sac, SacState
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

CONFIG = BalancedConfig(lr=1e-2)
LEFT, RIGHT = chain([0.0] * 20, start=-40.0), chain([1.0] * 20, start=20.0)


def make() -> tuple[Sac, Balanced]:
    sac = Sac(O, A, DISCOUNT, SMALL)
    return sac, Balanced(O, A, sac, CONFIG)


def always(balanced: Balanced, value: float) -> Ratio:
    ratio = balanced.initial(0)
    named = balanced.space.view(ratio.weights.clone())
    named["critic.head.bias"] = torch.full_like(named["critic.head.bias"], value)
    return ratio._replace(weights=balanced.space.flatten(named))


def test_at_first_old_and_new_are_alike() -> None:
    _, balanced = make()
    ratio = balanced.initial(seed=3)
    assert balanced.ratio(ratio.weights, LEFT).tolist() == [1.0] * 20


@pytest.mark.parametrize("w", [0.5, 1.0, 4.0])
def test_the_loss_is_the_bound_on_the_jensen_shannon_divergence(w: float) -> None:
    _, balanced = make()
    loss = balanced._loss(always(balanced, w).weights, LEFT, RIGHT)
    by_hand = -math.log(2 / (w + 1)) - math.log(2 * w / (w + 1))
    assert float(loss) == pytest.approx(by_hand, abs=1e-6)


def test_a_ratio_that_died_has_a_finite_loss_and_the_least_priority() -> None:
    _, balanced = make()
    dead = always(balanced, -1.0).weights
    assert math.isfinite(float(balanced._loss(dead, LEFT, RIGHT)))
    assert balanced._priority(dead, LEFT, LEFT).tolist() == pytest.approx([PRIORITY_MIN] * 20)


def test_a_priority_is_a_root_of_the_ratio_over_its_mean_in_the_prior(monkeypatch) -> None:
    _, balanced = make()
    of_prior, of_drawn = torch.tensor([1.0, 32.0]), torch.tensor([243.0, 0.0, 1e30])
    monkeypatch.setattr(balanced, "ratio", lambda _, data: of_prior if data is LEFT else of_drawn)
    got = balanced._priority(torch.zeros(0), RIGHT, LEFT)
    assert got.tolist() == pytest.approx([3.0 / 1.5, PRIORITY_MIN, PRIORITY_MAX])


def trained(updates: int) -> tuple[Balanced, SacState, Ratio]:
    sac, balanced = make()
    state, ratio = sac.initial(0), balanced.initial(0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        drawn = join((LEFT, RIGHT)).take(torch.arange(SMALL.batch))
        state, ratio, _ = balanced.update(state, ratio, drawn, LEFT, RIGHT, sac.noise(generator))
    return balanced, state, ratio


def test_it_learns_where_the_new_data_lie() -> None:
    balanced, _, ratio = trained(60)
    left, right = (balanced.ratio(ratio.weights, data).mean() for data in (LEFT, RIGHT))
    assert right > 3.0 * left


def heard_by(agent: BalancedAgent, monkeypatch) -> list[Batch]:
    heard: list[Batch] = []
    update = agent._balanced.update

    def listening(state, ratio, drawn, *rest):
        heard.append(drawn)
        return update(state, ratio, drawn, *rest)

    monkeypatch.setattr(agent._balanced, "update", listening)
    return heard


def test_at_the_end_of_the_warm_up_it_learns_much_with_half_of_the_draws_new(monkeypatch) -> None:
    bench = make_bench(LEFT, warmup_steps=5)
    agent = make_balanced_replay(bench, BalancedConfig(first_updates=3))
    heard = heard_by(agent, monkeypatch)
    experience(agent, RIGHT.take(torch.arange(4)))
    assert not heard
    experience(agent, RIGHT.take(torch.arange(4, 5)))
    assert len(heard) == 3 * 5
    assert float((heard[0].obs[:, 0] > 0.0).float().mean()) == pytest.approx(0.5, abs=0.05)
    experience(agent, RIGHT.take(torch.arange(5, 7)))
    assert len(heard) == 3 * 5 + 2 * 2


def test_old_data_like_the_new_come_to_be_drawn_more_than_others() -> None:
    near, far = chain([1.0] * 20, start=20.5), chain([0.0] * 20, start=-40.0)
    bench = make_bench(join((far, near)), warmup_steps=20)
    agent = make_balanced_replay(bench, BalancedConfig(lr=1e-2, first_updates=5))
    experience(agent, RIGHT, episode=20)
    of_far, of_near = agent.pool.priority[:20].mean(), agent.pool.priority[20:40].mean()
    assert of_near > 1.5 * of_far


def test_it_starts_from_the_source_and_learns_what_pays() -> None:
    bench = make_bench(bandit(200, 0), warmup_steps=20)
    agent = make_balanced_replay(bench, BalancedConfig(first_updates=15))
    assert bench.source is not None
    assert torch.equal(agent.state.actor, bench.source.actor)
    experience(agent, bandit(20, 1))
    action = greedy(agent._sac.actor_space, agent.state.actor)
    assert float((action - BEST).abs().mean()) < 0.15


def test_equal_seeds_give_equal_bits() -> None:
    def run() -> SacState:
        agent = make_balanced_replay(make_bench(LEFT), BalancedConfig(first_updates=2))
        experience(agent, RIGHT.take(torch.arange(6)))
        return agent.state

    for ours, again in zip(run(), run(), strict=True):
        assert torch.equal(ours, again)


def test_without_a_source_it_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="source run"):
        make_balanced_replay(make_bench(LEFT, source=None))
