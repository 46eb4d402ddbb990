"""Do actor and critics compute what their papers and torch's own layers say?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from offboard.networks import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    act,
    act_with_log_prob,
    actor,
    actor_space,
    critic,
    critic_space,
)

O, A, WIDTH, B = 3, 2, 8, 5
GENERATOR = torch.Generator().manual_seed(0)
OBS = torch.randn(B, O, generator=GENERATOR)
NOISE = torch.randn(B, A, generator=GENERATOR)
ACTOR = actor_space(O, A, WIDTH).view(actor_space(O, A, WIDTH).initial(GENERATOR))


def critics(E: int) -> dict[str, torch.Tensor]:
    """Critics none of whose parameters, gains and shifts included, are what they start as."""
    space = critic_space(O, A, WIDTH, E)
    return space.view(torch.randn(space.size, generator=torch.Generator().manual_seed(1)))


def test_log_probability_is_that_of_a_squashed_gaussian() -> None:
    mean, log_std = actor(ACTOR, OBS)
    action, log_prob = act_with_log_prob(ACTOR, OBS, NOISE)
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform())
    torch.testing.assert_close(
        log_prob, Independent(squashed, 1).log_prob(action), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("size", [30.0, -30.0])
def test_log_probability_stays_finite_where_the_squash_saturates(size: float) -> None:
    action, log_prob = act_with_log_prob(ACTOR, OBS, torch.full((B, A), size))
    assert torch.isfinite(log_prob).all()
    assert (action.abs() <= 1.0).all()


def test_without_noise_the_action_is_the_squashed_mean() -> None:
    mean, _ = actor(ACTOR, OBS)
    torch.testing.assert_close(act(ACTOR, OBS, torch.zeros(B, A)), mean.tanh())


def test_acting_and_learning_take_the_same_action() -> None:
    torch.testing.assert_close(act(ACTOR, OBS, NOISE), act_with_log_prob(ACTOR, OBS, NOISE)[0])


def test_the_spread_keeps_its_bounds_for_any_head() -> None:
    loud = {**ACTOR, "actor.head.bias": torch.tensor([0.0, 0.0, 1e3, -1e3])}
    _, log_std = actor(loud, OBS)
    torch.testing.assert_close(log_std[0], torch.tensor([LOG_STD_MAX, LOG_STD_MIN]))


def test_each_critic_is_linear_layer_norm_relu_twice_and_a_linear_head() -> None:
    p = critics(E=2)
    rows = torch.cat([OBS, NOISE], 1)
    for e in range(2):
        x = rows
        for layer in ("critic.0", "critic.1"):
            norm = nn.LayerNorm(WIDTH)
            norm.weight.data, norm.bias.data = p[f"{layer}.gain"][e, 0], p[f"{layer}.shift"][e, 0]
            x = norm(x @ p[f"{layer}.weight"][e] + p[f"{layer}.bias"][e]).relu()
        wanted = (x @ p["critic.head.weight"][e] + p["critic.head.bias"][e])[:, 0]
        torch.testing.assert_close(critic(p, OBS, NOISE)[e], wanted.detach())


def test_critics_do_not_share_parameters() -> None:
    p = critics(E=2)
    before = critic(p, OBS, NOISE)
    for tensor in p.values():
        tensor[1] += 0.5
    after = critic(p, OBS, NOISE)
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1], before[1])
