"""Implicit Q-learning: offline on the source replay, then online on all data together.

Source: Kostrikov et al. 2021 (arXiv 2110.06169), eq. 5-7; constants of its code for locomotion
(LEARNING.md § 2). Ours differs where the benchmark shares its networks: the actor is SAC's squashed
Gaussian, so that it exports, the critics have LayerNorm, and the learning rate is constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.nn.functional import softplus

from offboard.baselines.episodes import reward_scale
from offboard.bench.agent import Bench
from offboard.compiled import compiled
from offboard.networks import Named, actor, actor_space, critic, critic_space
from offboard.parameters import Adam
from offboard.replay import Batch, Replay
from offboard.rollout import Policy, actor_policy
from offboard.sac import SacConfig

ACTION_EDGE = 0.999  # an action at the limit has no finite pre-image under tanh
WEIGHT_MAX = 100.0  # of the code: the advantage's exponential is cut there
ONLINE_CAPACITY = 200_000


@dataclass(frozen=True)
class IqlConfig:
    """Locomotion recipe; ``offline_updates`` is scaled to a source replay of some 10k steps."""

    expectile: float = 0.7
    temperature: float = 3.0
    offline_updates: int = 10_000


class IqlState(NamedTuple):
    """Everything an update changes. Flat vectors (P,); ``step`` counts updates."""

    actor: Tensor
    critic: Tensor
    target: Tensor
    value: Tensor
    actor_m: Tensor
    actor_v: Tensor
    critic_m: Tensor
    critic_v: Tensor
    value_m: Tensor
    value_v: Tensor
    step: Tensor


class IqlLoss(NamedTuple):
    """Scalars of one update."""

    value: Tensor
    critic: Tensor
    actor: Tensor


class Iql:
    """The algorithm for one observation and action size; the state is the caller's."""

    def __init__(self, O: int, A: int, discount: float, sac: SacConfig, config: IqlConfig) -> None:
        self.batch = sac.batch
        self.actor_space = actor_space(O, A, sac.width)
        self.critic_space = critic_space(O, A, sac.width, sac.critics)
        self.value_space = critic_space(O, 0, sac.width, 1)  # V is a critic of no action
        self._config = config
        self._discount = discount
        self._tau = sac.tau
        self._adam = Adam(sac.lr)
        self.update = compiled(self._update)

    def initial(self, seed: int) -> IqlState:
        """Fresh networks."""
        generator = torch.Generator().manual_seed(seed)
        actor, critic, value = (
            space.initial(generator)
            for space in (self.actor_space, self.critic_space, self.value_space)
        )
        zeros = torch.zeros_like
        return IqlState(
            actor, critic, critic.clone(), value,
            zeros(actor), zeros(actor), zeros(critic), zeros(critic), zeros(value), zeros(value),
            torch.zeros(()),
        )  # fmt: skip

    def _update(self, s: IqlState, batch: Batch) -> tuple[IqlState, IqlLoss]:
        """One gradient step on value, actor and critic, then Polyak averaging."""
        t = s.step + 1.0
        q = critic(self.critic_space.view(s.target), batch.obs, batch.applied).amin(0)
        g_value, value_loss = grad_and_value(self._value_loss)(s.value, batch.obs, q)
        value, value_m, value_v = self._adam.step(s.value, g_value, s.value_m, s.value_v, t)
        advantage = q - self._value(value, batch.obs)
        g_actor, actor_loss = grad_and_value(self._actor_loss)(s.actor, batch, advantage)
        actor, actor_m, actor_v = self._adam.step(s.actor, g_actor, s.actor_m, s.actor_v, t)
        ahead = self._value(value, batch.following)
        wanted = batch.reward + self._discount * (1.0 - batch.terminated) * ahead
        g_critic, critic_loss = grad_and_value(self._critic_loss)(s.critic, batch, wanted)
        new, critic_m, critic_v = self._adam.step(s.critic, g_critic, s.critic_m, s.critic_v, t)
        target = s.target + self._tau * (new - s.target)
        state = IqlState(
            actor, new, target, value,
            actor_m, actor_v, critic_m, critic_v, value_m, value_v, t,
        )  # fmt: skip
        return state, IqlLoss(value_loss, critic_loss, actor_loss)

    def _value(self, flat: Tensor, obs: Tensor) -> Tensor:
        return critic(self.value_space.view(flat), obs, obs[:, :0])[0]

    def _value_loss(self, flat: Tensor, obs: Tensor, q: Tensor) -> Tensor:
        """Expectile regression of V on Q, eq. 5."""
        gap = q - self._value(flat, obs)
        weight = torch.where(gap > 0.0, self._config.expectile, 1.0 - self._config.expectile)
        return (weight * gap**2).mean()

    def _critic_loss(self, flat: Tensor, batch: Batch, wanted: Tensor) -> Tensor:
        """Squared error of every critic, eq. 6."""
        q = critic(self.critic_space.view(flat), batch.obs, batch.applied)  # (E, B)
        return ((q - wanted) ** 2).mean(-1).sum()

    def _actor_loss(self, flat: Tensor, batch: Batch, advantage: Tensor) -> Tensor:
        """Behaviour cloning weighted by the exponential of the advantage, eq. 7."""
        weight = (self._config.temperature * advantage).exp().clamp_max(WEIGHT_MAX)
        return -(weight * log_prob(self.actor_space.view(flat), batch.obs, batch.applied)).mean()


def log_prob(p: Named, obs: Tensor, action: Tensor) -> Tensor:
    """Log-density (B,) that the squashed Gaussian actor gives to ``action`` (B, A)."""
    raw = torch.atanh(action.clamp(-ACTION_EDGE, ACTION_EDGE))
    mean, log_std = actor(p, obs)
    noise = (raw - mean) * (-log_std).exp()
    gaussian = -0.5 * noise**2 - log_std - 0.5 * math.log(2.0 * math.pi)
    squash = 2.0 * (math.log(2.0) - raw - softplus(-2.0 * raw))
    return (gaussian - squash).sum(-1)


class IqlAgent:
    """Goes on in the target as it learned offline: from the union of old and new data."""

    def __init__(self, iql: Iql, state: IqlState, data: Replay, scale: float, bench: Bench) -> None:
        self.state = state
        self._iql = iql
        self._data = data
        self._scale = scale
        self._ready = len(data) + bench.warmup_steps
        self._updates_per_step = bench.updates_per_step
        self._generator = torch.Generator().manual_seed(bench.seed)

    def policy(self, explore: bool) -> Policy:
        """The present actor."""
        generator = self._generator if explore else None
        return actor_policy(self._iql.actor_space, self.state.actor, generator)

    def observe(self, transition: Batch, over: bool) -> None:
        """Take one transition into the common replay and learn."""
        self._data.add(transition._replace(reward=self._scale * transition.reward))
        if self._data.added > self._ready:
            self.learn(self._updates_per_step)

    def learn(self, updates: int) -> None:
        """Make ``updates`` gradient steps."""
        for _ in range(updates):
            batch = self._data.sample(self._iql.batch, self._generator)
            self.state, _ = self._iql.update(self.state, batch)


def make_iql(bench: Bench, config: IqlConfig = IqlConfig()) -> IqlAgent:
    """An agent trained offline on the source replay. Raises ConfigError without a source."""
    old = bench.known_source().replay
    scale = reward_scale(old)
    data = Replay(bench.O, bench.A, old.size + ONLINE_CAPACITY)
    data.add(old._replace(reward=scale * old.reward))
    iql = Iql(bench.O, bench.A, bench.discount, bench.sac, config)
    agent = IqlAgent(iql, iql.initial(bench.seed), data, scale, bench)
    agent.learn(config.offline_updates)
    return agent
