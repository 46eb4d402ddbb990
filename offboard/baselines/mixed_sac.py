"""SAC in the target on minibatches that are part prior data, part new.

The fraction decides what it is: 0 for plain fine-tuning, ½ for the symmetric sampling of RLPD (Ball
et al. 2023, § 4.1), and a falling one for data that should be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from offboard.replay import Batch, Replay, join
from offboard.rollout import Policy, actor_policy
from offboard.sac import Sac, SacState

Fraction = Callable[[int], float]
"""Target transitions seen so far → share of a minibatch drawn from prior data, in [0, 1]."""

CAPACITY = 200_000


def never(online: int) -> float:
    """No prior data at all."""
    return 0.0


def symmetric(online: int) -> float:
    """Half and half. Source: RLPD (LEARNING.md § 2)."""
    return 0.5


def proportional(prior: int, start: float = 1.0) -> Fraction:
    """``start`` times the share that ``prior`` transitions have in all data: it decays.

    Source: Cal-QL's code, N_off / (N_off + N_on) (LEARNING.md § 2).
    """
    return lambda online: start * prior / (prior + online)


class MixedSac:
    """An agent that learns ``updates_per_step`` times per transition once it is warm.

    Args:
        sac: the algorithm.
        state: where to start.
        prior: old transitions; may be empty if ``fraction`` is 0.
        fraction: how much of them goes into a minibatch.
        warmup_steps: transitions collected with the policy of ``state`` before it may change.
        updates_per_step: gradient steps per transition.
        seed: of minibatches and noise.
    """

    def __init__(
        self,
        sac: Sac,
        state: SacState,
        prior: Batch,
        fraction: Fraction,
        warmup_steps: int,
        updates_per_step: int,
        seed: int,
    ) -> None:
        self.state = state
        self._sac = sac
        self._prior = prior
        self._fraction = fraction
        self._warmup_steps = warmup_steps
        self._updates_per_step = updates_per_step
        self._generator = torch.Generator().manual_seed(seed)
        self._online = Replay(prior.obs.shape[1], prior.applied.shape[1], CAPACITY)

    def policy(self, explore: bool) -> Policy:
        """The present actor."""
        generator = self._generator if explore else None
        return actor_policy(self._sac.actor_space, self.state.actor, generator)

    def observe(self, transition: Batch, over: bool) -> None:
        """Take one transition; learn from it and from the past."""
        self._online.add(transition)
        if self._online.added <= self._warmup_steps:
            return
        for _ in range(self._updates_per_step):
            noise = self._sac.noise(self._generator)
            self.state, _ = self._sac.update(self.state, self._minibatch(), noise)

    def _minibatch(self) -> Batch:
        size = self._sac.config.batch
        old = round(size * self._fraction(self._online.added))
        fresh = self._online.sample(size - old, self._generator)
        if old == 0:
            return fresh
        index = torch.randint(self._prior.size, (old,), generator=self._generator)
        return join((self._prior.take(index), fresh))
