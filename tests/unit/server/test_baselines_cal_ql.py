"""Is it CQL(H), calibrated where asked, and does it go online as Cal-QL does?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from made_bench import BEST, DISCOUNT, SMALL, A, O, bandit, chain, experience, greedy, make_bench

from offboard.baselines.cal_ql import CalQlAgent, CalQlConfig, make_cal_ql
from offboard.baselines.conservative import Conservative, CqlConfig, CqlNoise, Valued
from offboard.networks import LOG_STD_MAX, LOG_STD_MIN, critic
from offboard.replay import join
from offboard.sac import Noise, Sac, SacState
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

B, n, WEIGHT = 4, 3, 5.0
LOG_STD = 0.5 * (LOG_STD_MIN + LOG_STD_MAX)
LOG_PROB_AT_MEAN = -LOG_STD - 0.5 * math.log(2.0 * math.pi)
SAC = replace(SMALL, width=8, batch=B, lr=1e-2, tau=0.1)
QUIET = CqlNoise(
    torch.zeros(n, B, A),
    torch.zeros(n, B, A),
    torch.zeros(n, B, A),
    Noise(torch.zeros(2, B, A), torch.arange(2)),
)


def make(calibrate: bool = True) -> tuple[Sac, Conservative]:
    sac = Sac(O, A, DISCOUNT, SAC)
    return sac, Conservative(sac, DISCOUNT, CqlConfig(WEIGHT, n, calibrate))


def constant(sac: Sac, *values: float) -> SacState:
    """Critics that always answer ``values``, and an actor of mean 0 and medium spread."""
    named = sac.critic_space.view(torch.zeros(sac.critic_space.size))
    named["critic.head.bias"][:, 0, 0] = torch.tensor(values)
    return sac.restart(torch.zeros(sac.actor_space.size), sac.critic_space.flatten(named))


def batch(returns: float = 0.0) -> Valued:
    steps = bandit(B, 0)._replace(terminated=torch.tensor([1.0, 0.0, 0.0, 1.0]))
    return Valued(steps, torch.full((B,), returns))


def soft_maximum(of_random: float, of_policy: float) -> float:
    """Log-sum-exp over n random and 2n policy actions, each corrected by its density."""
    return math.log(
        n * 2.0**A * math.exp(of_random) + 2 * n * math.exp(of_policy - LOG_PROB_AT_MEAN)
    )


def squared_error(q: tuple[float, float], data: Valued) -> float:
    target = data.steps.reward + DISCOUNT * (1.0 - data.steps.terminated) * min(q)
    return float(sum(((value - target) ** 2).mean() for value in q))


def test_the_conservative_term_is_the_soft_maximum_over_actions_less_the_datas_value() -> None:
    sac, cql = make(calibrate=False)
    _, loss = cql.update(constant(sac, 1.0, 2.0), batch(), QUIET)
    gaps = [soft_maximum(q, q) - q for q in (1.0, 2.0)]
    assert float(loss.gap) == pytest.approx(sum(gaps) / 2, rel=1e-5)
    expected = squared_error((1.0, 2.0), batch()) + WEIGHT * sum(gaps)
    assert float(loss.critic) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("returns", [-4.0, 1.5, 6.0])
def test_calibration_counts_no_policy_action_for_less_than_the_datas_return(returns: float) -> None:
    sac, cql = make(calibrate=True)
    _, loss = cql.update(constant(sac, 1.0, 2.0), batch(returns), QUIET)
    gaps = [soft_maximum(q, max(q, returns)) - q for q in (1.0, 2.0)]
    assert float(loss.gap) == pytest.approx(sum(gaps) / 2, rel=1e-5)


def test_the_target_is_the_best_next_action_by_the_least_critic_without_entropy() -> None:
    sac, cql = make()
    state = sac.initial(seed=0)._replace(target=sac.initial(seed=1).critic)
    noise = cql.noise(torch.Generator().manual_seed(2))
    data = batch()
    ahead, _ = cql._propose(state.actor, data.steps.following, noise.ahead)
    values = torch.stack(
        [critic(sac.critic_space.view(state.target), data.steps.following, a) for a in ahead]
    )
    best = torch.tensor([max(min(values[i, :, b]) for i in range(n)) for b in range(B)])
    wanted = data.steps.reward + DISCOUNT * (1.0 - data.steps.terminated) * best
    torch.testing.assert_close(cql._target(state, data.steps, ahead, torch.arange(2)), wanted)


def test_only_the_chosen_critics_make_the_target() -> None:
    sac, cql = make()
    state, data = constant(sac, 1.0, 2.0), batch()
    got = cql._target(state, data.steps, torch.zeros(n, B, A), torch.tensor([1]))
    wanted = data.steps.reward + DISCOUNT * (1.0 - data.steps.terminated) * 2.0
    torch.testing.assert_close(got, wanted)


def test_without_its_weight_the_actor_temperature_and_target_step_are_sacs() -> None:
    sac, _ = make()
    cql = Conservative(sac, DISCOUNT, CqlConfig(weight=0.0, actions=1, calibrate=True))
    data = batch()._replace(steps=bandit(B, 0))  # all terminated: both targets are the reward
    state, noise = sac.initial(seed=0), cql.noise(torch.Generator().manual_seed(1))
    ours, _ = cql.update(state, data, noise)
    theirs, _ = sac.update(state, data.steps, noise.sac)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def preference(weight: float) -> float:
    """How much more the critics value actions of the data than ones never seen, after learning."""
    data = bandit(400, 0)
    seen = data.take((data.applied[:, 0] < 0.0).nonzero()[:, 0])
    flat = seen._replace(reward=torch.zeros(seen.size))  # no action is better than another
    config = CalQlConfig(weight, actions=4, calibrate=False, offline_updates=150)
    agent = make_cal_ql(make_bench(flat), config)
    space, obs = agent._sac.critic_space, flat.obs[:64]
    at = [critic(space.view(agent.state.critic), obs, torch.full((64, A), a)) for a in (-0.5, 0.7)]
    return float((at[0] - at[1]).mean())


def test_actions_outside_the_data_are_valued_less() -> None:
    assert preference(5.0) > preference(0.0) + 0.5


def test_the_conservative_weight_is_in_units_of_the_rewards_spread() -> None:
    good, bad = chain([3.0] * 4, terminated=True), chain([1.0] * 4, start=50.0, terminated=True)
    agent = make_cal_ql(make_bench(join((good, bad))), CalQlConfig(2.5, offline_updates=0))
    assert agent._learner._config.weight == pytest.approx(2.5 * (3.0 - 1.0))


def test_it_learns_offline_which_action_paid() -> None:
    config = CalQlConfig(weight=0.05, actions=4, offline_updates=300)
    agent = make_cal_ql(make_bench(bandit(500, 0)), config)
    action = greedy(agent._sac.actor_space, agent.state.actor)
    assert float((action - BEST).abs().mean()) < 0.15


class Ear:
    """Hears every minibatch that an agent learns from."""

    def __init__(self, agent: CalQlAgent) -> None:
        self.heard: list[Valued] = []
        update = agent._learner.update

        def listening(state, data, noise):
            self.heard.append(data)
            return update(state, data, noise)

        agent._learner.update = listening


OLD = chain([0.0] * 40, start=-100.0)
NEW_FROM = 1_000.0
OFFLINE = CalQlConfig(actions=2, offline_updates=2)


def online(**config: bool) -> tuple[CalQlAgent, Ear]:
    agent = make_cal_ql(make_bench(OLD, warmup_steps=5), replace(OFFLINE, **config))
    return agent, Ear(agent)


def share_of_new(data: Valued) -> float:
    return float((data.steps.obs[:, 0] >= NEW_FROM).float().mean())


def test_online_it_learns_for_every_step_of_an_episode_past_the_warm_up_once_it_is_over() -> None:
    agent, ear = online()
    experience(agent, chain([1.0] * 7, NEW_FROM), episode=8)
    assert not ear.heard
    experience(agent, chain([1.0], NEW_FROM + 7), episode=1)
    assert len(ear.heard) == 2 * (8 - 5)
    experience(agent, chain([1.0] * 4, NEW_FROM + 50), episode=4)
    assert len(ear.heard) == 2 * (8 - 5) + 2 * 4


def test_online_half_of_every_minibatch_is_new() -> None:
    agent, ear = online()
    experience(agent, chain([1.0] * 8, NEW_FROM), episode=8)
    assert {share_of_new(data) for data in ear.heard} == {0.5}
    assert {data.size for data in ear.heard} == {SMALL.batch}


def test_in_proportion_the_share_of_new_data_is_that_in_all_data() -> None:
    agent, ear = online(proportional=True)
    experience(agent, chain([1.0] * 8, NEW_FROM), episode=8)
    assert share_of_new(ear.heard[-1]) == pytest.approx(8 / 48, abs=0.5 / SMALL.batch)


def test_new_transitions_carry_the_return_that_followed_them() -> None:
    agent, ear = online()
    experience(agent, chain([0.0] * 7 + [1.0], NEW_FROM, terminated=True), episode=8)
    data = ear.heard[-1]
    new = data.take((data.steps.obs[:, 0] >= NEW_FROM).nonzero()[:, 0])
    step = new.steps.obs[:, 0] - NEW_FROM
    torch.testing.assert_close(new.returns, DISCOUNT ** (7.0 - step))


def test_equal_seeds_give_equal_bits_offline_and_online() -> None:
    def run() -> SacState:
        agent, _ = online()
        experience(agent, chain([1.0] * 8, NEW_FROM), episode=8)
        return agent.state

    for ours, again in zip(run(), run(), strict=True):
        assert torch.equal(ours, again)


def test_without_a_source_it_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="source run"):
        make_cal_ql(make_bench(OLD, source=None))
