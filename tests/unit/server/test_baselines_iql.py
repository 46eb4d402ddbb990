"""Is it implicit Q-learning? By hand, by a plain second writing, on a problem with an answer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from made_bench import BEST, DISCOUNT, SMALL, A, O, bandit, chain, experience, greedy, make_bench
from torch import Tensor

from offboard.baselines.iql import WEIGHT_MAX, Iql, IqlConfig, IqlState, log_prob, make_iql
from offboard.networks import LOG_STD_MAX, LOG_STD_MIN, act_with_log_prob, critic
from offboard.parameters import Space
from offboard.replay import Batch, join
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

B = 4
CONFIG = IqlConfig(expectile=0.7, temperature=3.0, offline_updates=0)
LOG_STD = 0.5 * (LOG_STD_MIN + LOG_STD_MAX)


def make(lr: float = 1e-2, **changes: float) -> Iql:
    sac = replace(SMALL, width=8, batch=B, lr=lr, tau=0.1)
    return Iql(O, A, DISCOUNT, sac, replace(CONFIG, **changes))


def constant(space: Space, *values: float) -> Tensor:
    named = space.view(torch.zeros(space.size))
    named["critic.head.bias"][:, 0, 0] = torch.tensor(values)
    return space.flatten(named)


def flat(iql: Iql, q: tuple[float, float], v: float) -> IqlState:
    """Critics that answer ``q``, a value that answers ``v``, an actor of mean 0, medium spread."""
    critics = constant(iql.critic_space, *q)
    return iql.initial(seed=0)._replace(
        actor=torch.zeros(iql.actor_space.size),
        critic=critics,
        target=critics,
        value=constant(iql.value_space, v),
    )


def batch(seed: int = 0) -> Batch:
    made = bandit(B, seed)
    return made._replace(terminated=torch.tensor([1.0, 0.0, 0.0, 1.0]))


@pytest.mark.parametrize(("v", "weight"), [(1.0, 0.7), (3.5, 0.3)])
def test_the_value_is_an_expectile_of_the_least_target_critic(v: float, weight: float) -> None:
    iql = make()
    _, loss = iql.update(flat(iql, (2.0, 3.0), v), batch())
    assert float(loss.value) == pytest.approx(weight * (2.0 - v) ** 2)


def test_critics_follow_the_reward_and_the_value_of_the_next_state() -> None:
    iql, b = make(lr=0.0), batch()
    _, loss = iql.update(flat(iql, (2.0, 3.0), 5.0), b)
    wanted = b.reward + DISCOUNT * (1.0 - b.terminated) * 5.0
    by_hand = ((2.0 - wanted) ** 2).mean() + ((3.0 - wanted) ** 2).mean()
    torch.testing.assert_close(loss.critic, by_hand)


@pytest.mark.parametrize(
    ("v", "weight"), [(1.5, math.exp(3.0 * 0.5)), (-5.0, WEIGHT_MAX), (3.0, math.exp(-3.0))]
)
def test_the_actor_imitates_in_proportion_to_the_exponential_of_the_advantage(
    v: float, weight: float
) -> None:
    iql, b = make(lr=0.0), batch()
    _, loss = iql.update(flat(iql, (2.0, 3.0), v), b)
    raw = torch.atanh(b.applied[:, 0])
    gaussian = -0.5 * (raw / math.exp(LOG_STD)) ** 2 - LOG_STD - 0.5 * math.log(2.0 * math.pi)
    density = gaussian - (1.0 - b.applied[:, 0] ** 2).log()
    torch.testing.assert_close(loss.actor, -weight * density.mean(), rtol=1e-4, atol=1e-4)


def test_the_density_of_an_action_is_the_one_it_was_drawn_with() -> None:
    iql = make()
    p = iql.actor_space.view(iql.initial(seed=3).actor)
    obs, noise = bandit(B, 1).obs, torch.randn(B, A, generator=torch.Generator().manual_seed(2))
    action, drawn = act_with_log_prob(p, obs, 0.1 * noise)
    torch.testing.assert_close(log_prob(p, obs, action), drawn, rtol=1e-3, atol=1e-3)


def test_an_action_at_its_limit_has_a_finite_density() -> None:
    iql = make()
    p = iql.actor_space.view(iql.initial(seed=3).actor)
    assert torch.isfinite(log_prob(p, bandit(2, 1).obs, torch.tensor([[1.0], [-1.0]]))).all()


def second_writing(iql: Iql, s: IqlState, b: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Value, critic and actor after one update with autograd and torch's own Adam."""
    value, critics, actor = (x.clone().requires_grad_() for x in (s.value, s.critic, s.actor))
    optimisers = [torch.optim.Adam([x], 1e-2) for x in (value, critics, actor)]

    def v(obs: Tensor) -> Tensor:
        return critic(iql.value_space.view(value), obs, torch.zeros(B, 0))[0]

    q = torch.minimum(*critic(iql.critic_space.view(s.target), b.obs, b.applied))
    gap = q - v(b.obs)
    (torch.abs(CONFIG.expectile - (gap < 0).float()) * gap**2).mean().backward()
    optimisers[0].step()
    with torch.no_grad():
        weight = (CONFIG.temperature * (q - v(b.obs))).exp()
        wanted = b.reward + DISCOUNT * (1.0 - b.terminated) * v(b.following)
    q0, q1 = critic(iql.critic_space.view(critics), b.obs, b.applied)
    (((q0 - wanted) ** 2).mean() + ((q1 - wanted) ** 2).mean()).backward()
    optimisers[1].step()
    (-(weight * log_prob(iql.actor_space.view(actor), b.obs, b.applied)).mean()).backward()
    optimisers[2].step()
    return value.detach(), critics.detach(), actor.detach()


def test_an_update_equals_a_plain_second_writing() -> None:
    iql, b = make(), batch(3)
    state = iql.initial(seed=1)._replace(target=iql.initial(seed=2).critic)
    ours, _ = iql.update(state, b)
    for name, theirs in zip(
        ("value", "critic", "actor"), second_writing(iql, state, b), strict=True
    ):
        torch.testing.assert_close(getattr(ours, name), theirs, msg=name)
    torch.testing.assert_close(ours.target, 0.9 * state.target + 0.1 * ours.critic)


def test_it_learns_offline_which_action_paid() -> None:
    agent = make_iql(make_bench(bandit(500, 0)), IqlConfig(temperature=30.0, offline_updates=400))
    action = greedy(Iql(O, A, DISCOUNT, SMALL, CONFIG).actor_space, agent.state.actor)
    assert float((action - BEST).abs().mean()) < 0.15


def test_it_stays_within_the_data_though_more_would_pay() -> None:
    bold = bandit(500, 0)
    near = bold.take((bold.applied[:, 0].abs() < 0.2).nonzero()[:, 0])
    agent = make_iql(make_bench(near), IqlConfig(offline_updates=300))
    action = greedy(Iql(O, A, DISCOUNT, SMALL, CONFIG).actor_space, agent.state.actor)
    assert float(action.abs().max()) < 0.4


def test_equal_seeds_give_equal_bits_offline_and_online() -> None:
    def run() -> IqlState:
        agent = make_iql(make_bench(bandit(50, 0)), replace(CONFIG, offline_updates=3))
        experience(agent, bandit(6, 1))
        return agent.state

    for ours, again in zip(run(), run(), strict=True):
        assert torch.equal(ours, again)


def test_online_it_waits_for_the_warm_up_then_learns_for_every_step() -> None:
    agent = make_iql(make_bench(bandit(50, 0), warmup_steps=3), replace(CONFIG, offline_updates=5))
    experience(agent, bandit(3, 1))
    assert float(agent.state.step) == 5.0
    experience(agent, bandit(4, 2))
    assert float(agent.state.step) == 5.0 + 2 * 4


def test_online_it_goes_on_learning_from_old_and_new_data_on_the_old_scale_of_reward(
    monkeypatch,
) -> None:
    old = join((chain([0.0] * 4, terminated=True), chain([2.0] * 4, start=50.0, terminated=True)))
    agent = make_iql(make_bench(old, warmup_steps=0), CONFIG)
    heard: list[Batch] = []
    update = agent._iql.update
    monkeypatch.setattr(agent._iql, "update", lambda s, b: (heard.append(b), update(s, b))[1])
    experience(agent, chain([3.0] * 30, start=100.0), episode=30)
    rewards = join(heard).reward
    assert sorted(set(rewards.tolist())) == [0.0, 1.0, 1.5]  # 4 / (8 - 0) of 0, 2 and 3


def test_without_a_source_it_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="source run"):
        make_iql(make_bench(bandit(9, 0), source=None))
