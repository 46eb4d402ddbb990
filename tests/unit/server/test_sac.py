"""Is the update soft actor-critic? By hand arithmetic, by a plain second writing, by its purity."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from offboard.compiled import can_compile
from offboard.networks import LOG_STD_MAX, LOG_STD_MIN, act, act_with_log_prob, critic
from offboard.replay import Batch
from offboard.sac import Noise, Sac, SacConfig, SacState
from protocol.errors import ConfigError

O, A, B, DISCOUNT = 2, 1, 4, 0.9
CONFIG = SacConfig(width=8, batch=B, lr=1e-2, tau=0.1, alpha_start=0.2)

pytestmark = pytest.mark.usefixtures("eager")


def make(**changes: float) -> Sac:
    return Sac(O, A, DISCOUNT, replace(CONFIG, **changes))


def random_batch(seed: int, size: int = B) -> Batch:
    g = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(size, O, generator=g),
        2.0 * torch.rand(size, A, generator=g) - 1.0,
        torch.rand(size, generator=g),
        torch.randn(size, O, generator=g),
        (torch.rand(size, generator=g) < 0.3).float(),
    )


def constant(sac: Sac, values: list[float]) -> SacState:
    """Critics that always answer ``values``, and an actor of mean 0 and medium spread."""
    named = sac.critic_space.view(torch.zeros(sac.critic_space.size))
    named["critic.head.bias"][:, 0, 0] = torch.tensor(values)
    return sac.restart(torch.zeros(sac.actor_space.size), sac.critic_space.flatten(named))


LOG_STD = 0.5 * (LOG_STD_MIN + LOG_STD_MAX)
LOG_PROB_AT_MEAN = -LOG_STD - 0.5 * math.log(2.0 * math.pi)
QUIET = Noise(torch.zeros(2, B, A), torch.arange(2))


def test_the_target_is_reward_plus_the_least_soft_value_unless_the_episode_ended() -> None:
    sac, batch = make(), random_batch(0)
    state = constant(sac, [2.0, 3.0])
    soft = 2.0 - 0.2 * LOG_PROB_AT_MEAN
    target = batch.reward + DISCOUNT * (1.0 - batch.terminated) * soft
    assert 0 < batch.terminated.sum() < B
    _, loss = sac.update(state, batch, QUIET)
    by_hand = ((2.0 - target) ** 2).mean() + ((3.0 - target) ** 2).mean()
    torch.testing.assert_close(loss.critic, by_hand)
    assert float(loss.q) == pytest.approx(2.5)


def test_the_target_comes_from_the_target_critic() -> None:
    sac, batch = make(), random_batch(0)
    state = constant(sac, [0.0, 0.0])._replace(target=constant(sac, [7.0, 7.0]).target)
    target = batch.reward + DISCOUNT * (1.0 - batch.terminated) * (7.0 - 0.2 * LOG_PROB_AT_MEAN)
    _, loss = sac.update(state, batch, QUIET)
    torch.testing.assert_close(loss.critic, 2.0 * (target**2).mean())


def test_the_actors_loss_is_its_temperature_times_log_probability_less_the_least_value() -> None:
    sac = make(lr=0.0)
    _, loss = sac.update(constant(sac, [2.0, 3.0]), random_batch(0), QUIET)
    assert float(loss.actor) == pytest.approx(0.2 * LOG_PROB_AT_MEAN - 2.0)


@pytest.mark.parametrize("wanted", [-3.0, 3.0])
def test_the_temperature_moves_the_entropy_to_its_target(wanted: float) -> None:
    sac = make(target_entropy=wanted)
    state = constant(sac, [0.0, 0.0])
    after, _ = sac.update(state, random_batch(0), QUIET)
    gradient = -0.2 * (LOG_PROB_AT_MEAN + wanted)
    assert float(after.alpha_m) == pytest.approx(0.1 * gradient)
    moved = float(after.log_alpha - state.log_alpha)
    too_certain = -wanted < LOG_PROB_AT_MEAN
    assert moved == pytest.approx(0.01 if too_certain else -0.01, rel=1e-3)


def test_the_temperature_has_a_floor() -> None:
    sac = make(target_entropy=-50.0, alpha_min=0.199)
    state = constant(sac, [0.0, 0.0])
    for seed in range(3):
        state, _ = sac.update(state, random_batch(seed), QUIET)
    assert float(state.log_alpha.exp()) == pytest.approx(0.199)


def second_writing(sac: Sac, s: SacState, batch: Batch, noise: Tensor) -> SacState:
    """One update with autograd and torch's own Adam, from fresh optimiser state."""
    config, alpha = sac.config, s.log_alpha.exp()
    actor, values = s.actor.clone().requires_grad_(), s.critic.clone().requires_grad_()
    log_alpha = s.log_alpha.clone().requires_grad_()
    with torch.no_grad():
        policy, target_critic = sac.actor_space.view(s.actor), sac.critic_space.view(s.target)
        action, log_prob = act_with_log_prob(policy, batch.following, noise[0])
        q0, q1 = critic(target_critic, batch.following, action)
        soft = torch.minimum(q0, q1) - alpha * log_prob
        target = batch.reward + DISCOUNT * (1.0 - batch.terminated) * soft
    optimisers = [torch.optim.Adam([p], config.lr) for p in (values, actor, log_alpha)]
    q0, q1 = critic(sac.critic_space.view(values), batch.obs, batch.applied)
    (((q0 - target) ** 2).mean() + ((q1 - target) ** 2).mean()).backward()
    optimisers[0].step()
    action, log_prob = act_with_log_prob(sac.actor_space.view(actor), batch.obs, noise[1])
    q0, q1 = critic(sac.critic_space.view(values.detach()), batch.obs, action)
    (alpha * log_prob - torch.minimum(q0, q1)).mean().backward()
    optimisers[1].step()
    (-log_alpha.exp() * (log_prob.detach().mean() + config.target_entropy)).sum().backward()
    optimisers[2].step()
    polyak = (1.0 - config.tau) * s.target + config.tau * values.detach()
    return s._replace(
        actor=actor.detach(), critic=values.detach(), target=polyak, log_alpha=log_alpha.detach()
    )


def test_an_update_equals_a_plain_second_writing() -> None:
    sac, batch = make(), random_batch(3)
    state = sac.initial(seed=1)._replace(target=sac.initial(seed=2).critic)
    noise = sac.noise(torch.Generator().manual_seed(4))
    ours, _ = sac.update(state, batch, noise)
    theirs = second_writing(sac, state, batch, noise.action)
    for name in ("actor", "critic", "target", "log_alpha"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), msg=name)
    assert float(ours.step) == 1.0


def test_a_random_subset_of_critics_makes_the_target_and_all_lead_the_actor() -> None:
    sac = make(critics=3, target_subset=2)
    values = [1.0, 2.0, 6.0]
    noise = Noise(torch.zeros(2, B, A), torch.tensor([1, 2]))
    batch = random_batch(0)._replace(reward=torch.zeros(B), terminated=torch.zeros(B))
    _, loss = sac.update(constant(sac, values), batch, noise)
    soft = 2.0 - sac.config.alpha_start * LOG_PROB_AT_MEAN  # the least of the two that were drawn
    wanted = sum((value - DISCOUNT * soft) ** 2 for value in values)
    assert float(loss.critic) == pytest.approx(wanted, rel=1e-4)
    drawn = sac.noise(torch.Generator().manual_seed(0)).critics
    assert drawn.unique().numel() == 2


def updated(sac: Sac, times: int) -> SacState:
    state, generator = sac.initial(seed=0), torch.Generator().manual_seed(1)
    for seed in range(times):
        state, _ = sac.update(state, random_batch(seed), sac.noise(generator))
    return state


def test_equal_seeds_give_equal_bits() -> None:
    for ours, again in zip(updated(make(), 10), updated(make(), 10), strict=True):
        assert torch.equal(ours, again)


def test_an_update_leaves_the_old_state_alone() -> None:
    sac = make()
    state = updated(sac, 2)
    before = [tensor.clone() for tensor in state]
    after, _ = sac.update(state, random_batch(9), sac.noise(torch.Generator()))
    for old, kept, new in zip(state, before, after, strict=True):
        assert torch.equal(old, kept)
        assert not torch.equal(old, new)


def test_the_target_follows_the_critic_by_tau() -> None:
    sac = make()
    state = sac.initial(seed=0)._replace(target=sac.initial(seed=5).critic)
    after, _ = sac.update(state, random_batch(0), QUIET)
    torch.testing.assert_close(after.target, 0.9 * state.target + 0.1 * after.critic)


def test_a_warm_start_keeps_the_networks_and_forgets_the_optimiser() -> None:
    sac = make()
    old = updated(sac, 3)
    fresh = sac.restart(old.actor, old.critic)
    assert torch.equal(fresh.actor, old.actor)
    assert torch.equal(fresh.target, old.critic)
    assert float(fresh.log_alpha.exp()) == pytest.approx(CONFIG.alpha_start)
    assert all(not moment.any() for moment in fresh[4:])


def test_a_warm_start_from_another_width_is_refused() -> None:
    other = make(width=16).initial(seed=0)
    with pytest.raises(ConfigError, match=r"--sac\.width"):
        make().restart(other.actor, other.critic)


def test_it_learns_which_single_action_pays() -> None:
    sac = Sac(O, A, DISCOUNT, SacConfig(width=16, batch=64, lr=5e-3, target_entropy=-3.0))
    state, generator = sac.initial(seed=0), torch.Generator().manual_seed(0)
    for seed in range(400):
        batch = random_batch(seed, size=64)
        paid = 1.0 - (batch.applied[:, 0] - 0.5) ** 2
        batch = batch._replace(reward=paid, terminated=torch.ones(64))
        state, _ = sac.update(state, batch, sac.noise(generator))
    action = act(sac.actor_space.view(state.actor), random_batch(999, 64).obs, torch.zeros(64, A))
    assert float((action - 0.5).abs().mean()) < 0.1


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="needs a C++ compiler and Python's headers")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch about itself
def test_the_compiled_update_equals_the_eager_one(monkeypatch) -> None:
    eager = make()
    monkeypatch.setattr("offboard.compiled.can_compile", lambda: True)
    fast = make()
    assert fast.update != fast._update
    for ours, theirs in zip(updated(fast, 5), updated(eager, 5), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
