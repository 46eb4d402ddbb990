"""Does SAC on mixed data wait, mix and learn as its fraction says?"""

from __future__ import annotations

import pytest
import torch
from made_bench import DISCOUNT, SMALL, A, O, bandit, chain, experience

from offboard.baselines.mixed_sac import Fraction, MixedSac, never, proportional, symmetric
from offboard.replay import Batch, empty
from offboard.sac import Sac, SacState

pytestmark = pytest.mark.usefixtures("eager")

PRIOR = chain([0.0] * 30, start=-100.0)
NEW_FROM = 1_000.0
NEW = chain([1.0] * 10, NEW_FROM)


def make(fraction: Fraction, prior: Batch = PRIOR, seed: int = 0) -> tuple[MixedSac, list[Batch]]:
    """An agent, and every minibatch it learns from."""
    sac, heard = Sac(O, A, DISCOUNT, SMALL), []
    update = sac.update
    sac.update = lambda s, b, noise: (heard.append(b), update(s, b, noise))[1]
    return MixedSac(sac, sac.initial(7), prior, fraction, 4, 3, seed), heard


def share_of_new(batch: Batch) -> float:
    return float((batch.obs[:, 0] >= NEW_FROM).float().mean())


def test_the_policy_is_frozen_until_it_is_warm_and_then_learns_for_every_step() -> None:
    agent, heard = make(never)
    before = agent.state
    experience(agent, NEW.take(torch.arange(4)))
    assert agent.state is before
    experience(agent, NEW.take(torch.arange(4, 10)))
    assert len(heard) == 3 * 6
    assert not torch.equal(agent.state.actor, before.actor)


@pytest.mark.parametrize(
    ("fraction", "share"), [(never, 1.0), (symmetric, 0.5), (proportional(30, 0.5), 1 - 0.5 * 0.75)]
)
def test_a_minibatch_is_old_and_new_by_its_fraction(fraction: Fraction, share: float) -> None:
    agent, heard = make(fraction)
    experience(agent, NEW)
    assert heard[-1].size == SMALL.batch
    assert share_of_new(heard[-1]) == pytest.approx(share, abs=0.5 / SMALL.batch)


def test_one_without_a_past_needs_none() -> None:
    agent, heard = make(never, empty(O, A))
    experience(agent, NEW)
    assert len(heard) == 3 * 6


@pytest.mark.parametrize(("online", "share"), [(0, 0.5), (100, 0.25), (300, 0.125)])
def test_the_proportional_share_fades_with_new_data(online: int, share: float) -> None:
    assert proportional(100, start=0.5)(online) == share


def test_exploring_differs_from_exploiting() -> None:
    agent, _ = make(never)
    obs = bandit(1, 0).obs[0].numpy()
    assert agent.policy(explore=False)(obs) == agent.policy(explore=False)(obs)
    assert agent.policy(explore=True)(obs) != agent.policy(explore=True)(obs)


def test_equal_seeds_give_equal_bits() -> None:
    def run(seed: int) -> SacState:
        agent, _ = make(symmetric, seed=seed)
        experience(agent, NEW)
        return agent.state

    for ours, again in zip(run(0), run(0), strict=True):
        assert torch.equal(ours, again)
    assert not torch.equal(run(0).actor, run(1).actor)
