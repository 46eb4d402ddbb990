"""Does the policy that searches find what pays, and is it the actor where there is nothing to find?

The world is a line: an action is a step along it. Everything can be worked out in the head.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from made_learning import Line, blind_critics, indifferent_actor, right_seeing_critics
from torch import Tensor

from offboard.model_state import ModelState
from offboard.networks import Named, act
from offboard.parameters import Space
from offboard.planner_policy import PlannerArchitecture, SearchConfig
from offboard.sac import Sac, SacConfig
from offboard.world_model import Step

pytestmark = pytest.mark.usefixtures("eager")

WIDTH = 8
CONFIG = SearchConfig(horizon=4, pairs=8, temperature=0.1, penalty=0.0)
BLIND = blind_critics(WIDTH)
SPREAD = math.exp(-1.5)
"""Of the indifferent actor: the middle of its range of log-std."""


class Track(Line):
    """The line with the parameters of the smallest ensemble there is; they decide nothing."""

    space = Space({"model.0.weight": (1, 2, 1), "model.mean.weight": (1, 1, 1)})

    def expect_with(self, p: Named, state: object, obs: Tensor, applied: Tensor) -> Step:
        return self.expect(state, obs, applied)


NORMALISER = {
    **{name: torch.zeros(size) for name, size in (("in_mean", 2), ("out_mean", 1), ("low", 1))},
    **{name: torch.ones(size) for name, size in (("in_std", 2), ("out_std", 1), ("high", 1))},
    "reward_range": torch.tensor([0.0, 1.0]),
}
MODEL = ModelState(
    weights=torch.zeros(3), m=torch.zeros(3), v=torch.zeros(3), step=torch.zeros(()), **NORMALISER
)


def decided(mean: float) -> Named:
    """An actor that always wants tanh(mean)."""
    return {**indifferent_actor(WIDTH), "actor.head.bias": torch.tensor([mean, 0.0])}


def actions(
    world: Track,
    starts: list[float],
    config: SearchConfig = CONFIG,
    *,
    actor: Named | None = None,
    critics: Named = BLIND,
    discount: float = 0.99,
    noise: float = 0.0,
) -> Tensor:
    """The action chosen at each start: (S,)."""
    sac = Sac(1, 1, discount, SacConfig(width=WIDTH))
    state = sac.restart(
        sac.actor_space.flatten(actor or indifferent_actor(WIDTH)),
        sac.critic_space.flatten(critics),
    )
    policy = PlannerArchitecture(world, sac, discount, config)
    named = policy.space.view(policy.parameters(state, MODEL))
    chosen = policy.act(named, torch.tensor(starts)[:, None], torch.full((len(starts), 1), noise))
    assert chosen.shape == (len(starts), 1)
    return chosen[:, 0]


def rewarding_right(x: Tensor) -> Tensor:
    return torch.where(x > 0.0, 1.0, 0.5)


def doubtful_right(x: Tensor) -> Tensor:
    return torch.where(x > 0.0, 1.0, 0.0)


def test_it_moves_to_where_reward_is() -> None:
    assert float(actions(Track(lambda x: x), [0.0])) > 0.5
    assert float(actions(Track(lambda x: -x), [0.0])) < -0.5


def test_every_start_gets_the_action_it_would_get_alone() -> None:
    world, starts = Track(lambda x: -x.abs()), [-2.0, 0.0, 2.0]
    together = actions(world, starts)
    assert float(together[0]) > 0.5
    assert float(together[2]) < -0.5
    torch.testing.assert_close(together, torch.cat([actions(world, [x]) for x in starts]))


def test_the_weights_of_one_step_by_hand() -> None:
    """Steps of 0, 0.5 and -0.5 are worth 0, 0.5 - 2 for the doubt, and -0.5."""
    world = Track(lambda x: x, doubtful_right)
    config = SearchConfig(horizon=1, pairs=1, reach=0.5, temperature=1.0, penalty=2.0)
    stay, right, left = 1.0, math.exp(-1.5), math.exp(-0.5)
    wanted = 0.5 * (right - left) / (stay + right + left)
    assert float(actions(world, [0.0], config)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("penalty", "side"), [(0.0, 1), (0.3, 1), (0.8, -1), (10.0, -1)])
def test_the_penalty_decides_whether_reward_is_worth_the_uncertainty(penalty, side) -> None:
    """Right is worth 0.5 more and costs one unit of disagreement: λ = 0.5 is the break-even."""
    world = Track(rewarding_right, doubtful_right)
    action = float(actions(world, [0.0], replace(CONFIG, penalty=penalty)))
    assert side * action > 0.05


def test_the_terminal_value_shows_what_lies_beyond_the_horizon() -> None:
    nothing = Track(torch.zeros_like)
    assert float(actions(nothing, [-0.5])) == pytest.approx(0.0, abs=1e-6)
    assert float(actions(nothing, [-0.5], critics=right_seeing_critics(WIDTH))) > 0.1


def test_the_terminal_value_is_worth_less_the_further_off_it_lies() -> None:
    """0.4 now for staying left against a value of about 1 afterwards: patience decides."""
    world, config = Track(lambda x: torch.where(x > 0.0, 0.0, 0.4)), replace(CONFIG, horizon=1)
    critics = right_seeing_critics(WIDTH)
    patient, hasty = (
        float(actions(world, [-0.01], config, critics=critics, discount=discount))
        for discount in (0.9, 0.2)
    )
    assert patient > 0.1
    assert hasty < -0.1


def test_a_life_that_ends_gains_nothing_afterwards() -> None:
    """0.5 once for going right and ending there, or 0.2 a tick for staying alive."""
    world = Track(lambda x: torch.where(x > 0.0, 0.5, 0.2), ends_at=lambda x: x > 0.0)
    assert float(actions(world, [-0.01])) < 0.0
    assert float(actions(world, [-0.01], replace(CONFIG, horizon=1))) > 0.0


def test_nothing_is_worth_having_after_the_end() -> None:
    """The critics promise 1 on the right; but who goes there is dead by then."""
    world = Track(lambda x: torch.where(x > 0.0, 0.0, 0.1), ends_at=lambda x: x > 0.0)
    critics = right_seeing_critics(WIDTH)
    assert float(actions(world, [-0.01], replace(CONFIG, horizon=1), critics=critics)) < 0.0


def test_candidates_follow_the_actor_and_keep_their_push() -> None:
    """The actor walks 0.5 a step; three steps with a push of 0.4 lead to 2.7 and nowhere else."""
    world = Track(lambda x: torch.exp(-100.0 * (x - 2.7) ** 2))
    config = SearchConfig(horizon=3, pairs=2, reach=0.4, temperature=1e-3)
    action = float(actions(world, [0.0], config, actor=decided(math.atanh(0.5))))
    assert action == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("config", [replace(CONFIG, pairs=0), replace(CONFIG, temperature=1e6)])
def test_a_search_without_candidates_or_without_a_preference_is_the_actor(config) -> None:
    chosen = actions(Track(lambda x: x), [0.3], replace(config, reach=0.3), actor=decided(0.4))
    assert float(chosen) == pytest.approx(math.tanh(0.4), abs=1e-5)


@pytest.mark.parametrize("noise", [-1.0, 0.5])
def test_exploration_has_the_spread_of_the_actor(noise: float) -> None:
    quiet = replace(CONFIG, pairs=0)
    chosen = actions(Track(torch.zeros_like), [0.0], quiet, actor=decided(0.4), noise=noise)
    mean = math.tanh(0.4)
    assert float(chosen) == pytest.approx(mean + (1.0 - mean**2) * SPREAD * noise, abs=1e-6)
    wanted = act(decided(0.4), torch.zeros(1, 1), torch.full((1, 1), noise))
    assert float(chosen) == pytest.approx(float(wanted), abs=0.05)


@pytest.mark.parametrize("noise", [-1e6, 1e6])
def test_no_noise_leads_beyond_full_action(noise: float) -> None:
    assert float(actions(Track(torch.zeros_like), [0.0], noise=noise).abs()) == 1.0


def pushes(config: SearchConfig, A: int) -> Tensor:
    sac = Sac(1, A, 0.9, SacConfig(width=WIDTH))
    tensors = PlannerArchitecture(Track(torch.zeros_like), sac, 0.9, config)._search
    return tensors["search.pushes"]


def test_pushes_of_one_action_are_an_even_grid() -> None:
    grid, _ = pushes(SearchConfig(pairs=4, reach=0.8), A=1)[:, 0].sort()
    torch.testing.assert_close(grid, torch.linspace(-0.8, 0.8, 9))


def test_pushes_of_several_actions_are_opposite_pairs_after_none() -> None:
    tried = pushes(SearchConfig(pairs=5, reach=0.5), A=3)
    assert tried.shape == (11, 3)
    assert not tried[0].any()
    assert torch.equal(tried[1:6], -tried[6:])
    torch.testing.assert_close(tried[1:6].abs().amax(1), 0.1 * torch.arange(1.0, 6.0))
    assert torch.linalg.matrix_rank(tried) == 3


def test_the_directions_are_the_seeds() -> None:
    first, same, other = (pushes(SearchConfig(seed=seed), A=3) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_pessimism_multiplies_the_penalty_and_nothing_else() -> None:
    sac = Sac(1, 1, 0.99, SacConfig(width=WIDTH))
    policy = PlannerArchitecture(Track(doubtful_right), sac, 0.99, replace(CONFIG, penalty=2.0))
    state = sac.initial(seed=0)
    plain, dear = (
        policy.space.view(policy.parameters(state, MODEL, pessimism)) for pessimism in (1.0, 2.5)
    )
    assert {name for name in plain if not torch.equal(plain[name], dear[name])} == {
        "search.penalty"
    }
    assert dear["search.penalty"].tolist() == [5.0]
