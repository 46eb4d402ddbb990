"""Balanced Replay: prior transitions count as much as they resemble what the policy does now.

Source: Lee et al. 2021 (CoRL, arXiv 2107.00591) and its code (LEARNING.md § 2): a network learns
the density ratio w = d_on / d_off of state-action pairs by a Jensen-Shannon bound, and a transition
is drawn in proportion to w^(1/T). Ours starts from the source's one actor-critic where the paper
has an ensemble of five, pre-trained by CQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad

from offboard.baselines.priority_replay import PriorityReplay
from offboard.bench.agent import Bench
from offboard.compiled import compiled
from offboard.networks import critic, critic_space
from offboard.parameters import Adam
from offboard.replay import Batch, Replay
from offboard.rollout import Policy, actor_policy
from offboard.sac import Noise, Sac, SacState

TINY = 1e-10
PRIORITY_MIN, PRIORITY_MAX = 1e-3, 1e3
ONLINE_CAPACITY = 200_000


@dataclass(frozen=True)
class BalancedConfig:
    """Temperature T, share of new data at first, and updates per warm-up step at its end."""

    temperature: float = 5.0
    online_fraction: float = 0.5
    first_updates: int = 10
    lr: float = 3e-4


class Ratio(NamedTuple):
    """The ratio network's weights (P,), its Adam moments and its count of updates."""

    weights: Tensor
    m: Tensor
    v: Tensor
    step: Tensor


class Balanced:
    """One update of SAC and of the density ratio together; both states are the caller's."""

    def __init__(self, O: int, A: int, sac: Sac, config: BalancedConfig) -> None:
        self.space = critic_space(O, A, sac.config.width, 1)
        self._sac = sac
        self._config = config
        self._adam = Adam(config.lr)
        self.update = compiled(self._update)

    def initial(self, seed: int) -> Ratio:
        """A ratio of 1 everywhere."""
        named = self.space.view(self.space.initial(torch.Generator().manual_seed(seed)))
        named["critic.head.weight"] = torch.zeros_like(named["critic.head.weight"])
        named["critic.head.bias"] = torch.ones_like(named["critic.head.bias"])
        weights = self.space.flatten(named)
        return Ratio(weights, torch.zeros_like(weights), torch.zeros_like(weights), torch.zeros(()))

    def _update(
        self, s: SacState, ratio: Ratio, drawn: Batch, prior: Batch, online: Batch, noise: Noise
    ) -> tuple[SacState, Ratio, Tensor]:
        """Learn from ``drawn``, and to tell ``online`` from ``prior``; priorities of the drawn."""
        t = ratio.step + 1.0
        priority = self._priority(ratio.weights, drawn, prior)
        gradient = grad(self._loss)(ratio.weights, prior, online)
        stepped = self._adam.step(ratio.weights, gradient, ratio.m, ratio.v, t)
        state, _ = self._sac.update(s, drawn, noise)
        return state, Ratio(*stepped, t), priority

    def ratio(self, weights: Tensor, batch: Batch) -> Tensor:
        """w (B,), how much likelier the present policy is to be there than the prior was."""
        return torch.relu(critic(self.space.view(weights), batch.obs, batch.applied)[0])

    def _loss(self, weights: Tensor, prior: Batch, online: Batch) -> Tensor:
        """E_off[-log(2 / (w+1))] - E_on[log(2w / (w+1))]: LEARNING.md § 2."""
        off, on = self.ratio(weights, prior), self.ratio(weights, online)
        return (
            -(2.0 / (off + 1.0) + TINY).log().mean() - (2.0 * on / (on + 1.0) + TINY).log().mean()
        )

    def _priority(self, weights: Tensor, drawn: Batch, prior: Batch) -> Tensor:
        """w^(1/T) over its mean in the prior, within bounds."""
        power = 1.0 / self._config.temperature
        usual = (self.ratio(weights, prior) ** power).mean() + TINY
        return (self.ratio(weights, drawn) ** power / usual).clamp(PRIORITY_MIN, PRIORITY_MAX)


class BalancedAgent:
    """SAC from a warm start on the priority replay of old and new transitions."""

    def __init__(
        self, sac: Sac, state: SacState, prior: Batch, config: BalancedConfig, bench: Bench
    ) -> None:
        self.state = state
        self.pool = PriorityReplay(bench.O, bench.A, prior.size + ONLINE_CAPACITY)
        self.pool.add(prior, 1.0)
        self._online = Replay(bench.O, bench.A, ONLINE_CAPACITY)
        self._prior = prior
        self._sac = sac
        self._balanced = Balanced(bench.O, bench.A, sac, config)
        self._ratio = self._balanced.initial(bench.seed)
        self._fresh_priority = _fresh_priority(prior.size, bench.warmup_steps, config)
        self._first_updates = config.first_updates
        self._bench = bench
        self._generator = torch.Generator().manual_seed(bench.seed)

    def policy(self, explore: bool) -> Policy:
        """The present actor."""
        generator = self._generator if explore else None
        return actor_policy(self._sac.actor_space, self.state.actor, generator)

    def observe(self, transition: Batch, over: bool) -> None:
        """Take one transition and learn; at the end of the warm-up much, as in the paper."""
        self._online.add(transition)
        self.pool.add(transition, self._fresh_priority)
        past = self._online.added - self._bench.warmup_steps
        if past == 0:
            self._learn(self._first_updates * self._bench.warmup_steps)
        elif past > 0:
            self._learn(self._bench.updates_per_step)

    def _learn(self, updates: int) -> None:
        size = self._sac.config.batch
        for _ in range(updates):
            index, drawn = self.pool.sample(size, self._generator)
            chosen = torch.randint(self._prior.size, (size,), generator=self._generator)
            self.state, self._ratio, priority = self._balanced.update(
                self.state,
                self._ratio,
                drawn,
                self._prior.take(chosen),
                self._online.sample(size, self._generator),
                self._sac.noise(self._generator),
            )
            self.pool.reprioritise(index, priority)
            self._fresh_priority = max(self._fresh_priority, float(priority.max()))


def _fresh_priority(prior: int, warmup: int, config: BalancedConfig) -> float:
    """What makes ``online_fraction`` of the draws new once the warm-up is over: M f / ((1-f) N)."""
    share = config.online_fraction / (1.0 - config.online_fraction)
    return share * prior / max(1, warmup)


def make_balanced_replay(
    bench: Bench,
    config: BalancedConfig = BalancedConfig(),
) -> BalancedAgent:
    """An agent that starts from the source's actor-critic. Raises ConfigError without a source."""
    source = bench.known_source()
    sac = Sac(bench.O, bench.A, bench.discount, bench.sac)
    start = sac.restart(source.actor, source.critic)
    return BalancedAgent(sac, start, source.replay, config, bench)
