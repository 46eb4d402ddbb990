"""Soft actor-critic: the whole update as one pure function of (state, batch, noise).

Source: Haarnoja et al. 2018 (arXiv 1812.05905) eq. 5-7 and 18; critics with LayerNorm from RLPD.
Purity lets ``torch.compile`` make one graph of losses, gradients, Adam and Polyak averaging.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value

from offboard.compiled import compiled
from offboard.device import CPU
from offboard.networks import act_with_log_prob, actor_space, critic, critic_space
from offboard.parameters import Adam, Space
from offboard.replay import Batch
from protocol.errors import ConfigError


@dataclass(frozen=True)
class SacConfig:
    """Recipe of LEARNING.md § 5.2 for the Furuta rig.

    Attributes:
        width: of both hidden layers.
        critics: how many.
        target_subset: M: the target is the minimum of M random critics and the actor follows the
            mean of all (REDQ, Chen et al. 2021, algorithm 1); without it both take the minimum of
            all.
        batch: transitions of an update.
        lr: of actor, critics and temperature.
        tau: share of the critics that the target critics take on at each update.
        target_entropy: of the whole action, in nats.
        alpha_start: temperature at the beginning.
        alpha_min: temperature never falls below it.
    """

    width: int = 64
    critics: int = 2
    target_subset: int | None = None
    batch: int = 128
    lr: float = 1e-3
    tau: float = 0.01
    target_entropy: float = -1.0
    alpha_start: float = 0.1
    alpha_min: float = 0.0


class SacState(NamedTuple):
    """Everything an update changes. Flat vectors (P,); ``step`` counts updates."""

    actor: Tensor
    critic: Tensor
    target: Tensor
    log_alpha: Tensor
    actor_m: Tensor
    actor_v: Tensor
    critic_m: Tensor
    critic_v: Tensor
    alpha_m: Tensor
    alpha_v: Tensor
    step: Tensor


class Noise(NamedTuple):
    """What an update draws: unit normals (2, B, A) and the critics of its target (M,)."""

    action: Tensor
    critics: Tensor


class SacLoss(NamedTuple):
    """Scalars of one update, for the curves."""

    critic: Tensor
    actor: Tensor
    alpha: Tensor
    q: Tensor

    def row(self) -> dict[str, float]:
        """As a log names them."""
        return {
            "critic_loss": float(self.critic),
            "actor_loss": float(self.actor),
            "alpha": float(self.alpha),
            "q": float(self.q),
        }


Update = Callable[[SacState, Batch, Noise], tuple[SacState, SacLoss]]


def of_one(gradient: Tensor) -> Tensor:
    """The mean gradient of the only worker there is."""
    return gradient


class Sac:
    """The algorithm for one observation and action size; the state is the caller's.

    ``mean`` averages a gradient over the workers of one learner (``offboard/distributed.py``); it
    becomes part of the compiled graph. States and noise are made on ``device``.
    """

    def __init__(
        self,
        O: int,
        A: int,
        discount: float,
        config: SacConfig,
        mean: Callable[[Tensor], Tensor] = of_one,
        device: torch.device = CPU,
    ) -> None:
        self.config = config
        self.device = device
        self._mean = mean
        self.action_size = A
        self._discount = discount
        self.actor_space: Space = actor_space(O, A, config.width)
        self.critic_space: Space = critic_space(O, A, config.width, config.critics)
        self._adam = Adam(config.lr)
        self.update: Update = compiled(self._update)

    def initial(self, seed: int) -> SacState:
        """Fresh networks."""
        generator = torch.Generator().manual_seed(seed)
        return self.restart(
            self.actor_space.initial(generator), self.critic_space.initial(generator)
        )

    def restart(self, actor: Tensor, critic: Tensor, alpha: float | None = None) -> SacState:
        """Given networks with fresh optimiser state: the warm start of a new task.

        Raises:
            ConfigError: the networks are of another size.
        """
        if (actor.numel(), critic.numel()) != (self.actor_space.size, self.critic_space.size):
            raise ConfigError(
                "the warm start has networks of another size; "
                "use the --sac.width and --sac.critics it was trained with"
            )
        actor, critic = actor.to(self.device), critic.to(self.device)
        start = self.config.alpha_start if alpha is None else alpha
        log_alpha = actor.new_full((1,), start).log()
        zeros = torch.zeros_like
        return SacState(
            actor=actor.clone(),
            critic=critic.clone(),
            target=critic.clone(),
            log_alpha=log_alpha,
            actor_m=zeros(actor),
            actor_v=zeros(actor),
            critic_m=zeros(critic),
            critic_v=zeros(critic),
            alpha_m=zeros(log_alpha),
            alpha_v=zeros(log_alpha),
            step=torch.zeros((), device=self.device),
        )

    def noise(self, generator: torch.Generator) -> Noise:
        """One set of normals for the target's action, one for the actor's, and a set of critics."""
        shape = (2, self.config.batch, self.action_size)
        action = torch.randn(shape, generator=generator).to(self.device)
        E, M = self.config.critics, self.config.target_subset
        if M is None:
            return Noise(action, torch.arange(E, device=self.device))
        return Noise(action, torch.randperm(E, generator=generator)[:M].to(self.device))

    def _update(self, s: SacState, batch: Batch, noise: Noise) -> tuple[SacState, SacLoss]:
        """One gradient step on critic, actor and temperature, then Polyak averaging."""
        alpha = s.log_alpha.exp()
        target = self._td_target(s, batch, noise, alpha)
        gradient, (critic_loss, q) = grad_and_value(self._critic_loss, has_aux=True)(
            s.critic, batch, target
        )
        gradient = self._mean(gradient)
        stepped = self._adam.step(s.critic, gradient, s.critic_m, s.critic_v, s.step + 1.0)
        state, actor_loss = self.improve(s, stepped, batch.obs, noise.action[1])
        return state, SacLoss(critic_loss, actor_loss, alpha[0], q)

    def improve(
        self, s: SacState, stepped: tuple[Tensor, Tensor, Tensor], obs: Tensor, noise: Tensor
    ) -> tuple[SacState, Tensor]:
        """The rest of an update, once the critics have stepped: actor, temperature and target.

        Args:
            s: the state before the update.
            stepped: the new critics (P,) and their Adam moments.
            obs: (B, O) states to act well in.
            noise: (B, A) unit normals of the actions there.

        Returns:
            The state after the update, and the actor's loss.
        """
        t = s.step + 1.0
        alpha = s.log_alpha.exp()
        new_critic, critic_m, critic_v = stepped
        g_actor, (actor_loss, log_prob) = grad_and_value(self._actor_loss, has_aux=True)(
            s.actor, new_critic, obs, noise, alpha
        )
        g_actor = self._mean(g_actor)
        new_actor, actor_m, actor_v = self._adam.step(s.actor, g_actor, s.actor_m, s.actor_v, t)
        # d/d(log α) of -α·(log π + H̄): Haarnoja et al. eq. 18
        g_alpha = -alpha * (log_prob.mean() + self.config.target_entropy)
        g_alpha = self._mean(g_alpha)
        log_alpha, alpha_m, alpha_v = self._adam.step(s.log_alpha, g_alpha, s.alpha_m, s.alpha_v, t)
        if self.config.alpha_min > 0.0:
            log_alpha = torch.clamp_min(log_alpha, self._log_alpha_min)
        new_target = s.target + self.config.tau * (new_critic - s.target)
        state = SacState(
            new_actor, new_critic, new_target, log_alpha,
            actor_m, actor_v, critic_m, critic_v, alpha_m, alpha_v, t,
        )  # fmt: skip
        return state, actor_loss

    @property
    def _log_alpha_min(self) -> float:
        return float(torch.tensor(self.config.alpha_min).log())

    def _td_target(self, s: SacState, batch: Batch, noise: Noise, alpha: Tensor) -> Tensor:
        """(B,) soft Bellman target, eq. 5: minimum over the critics of ``noise``."""
        p = self.actor_space.view(s.actor)
        action, log_prob = act_with_log_prob(p, batch.following, noise.action[0])
        q = critic(self.critic_space.view(s.target), batch.following, action)  # (E, B)
        if self.config.target_subset is not None:
            q = q.index_select(0, noise.critics)
        soft = q.amin(0) - alpha * log_prob
        return batch.reward + self._discount * (1.0 - batch.terminated) * soft

    def _critic_loss(self, flat: Tensor, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
        q = critic(self.critic_space.view(flat), batch.obs, batch.applied)  # (E, B)
        loss = ((q - target) ** 2).mean(-1).sum()
        return loss, q.mean()

    def _actor_loss(
        self, flat: Tensor, critic_flat: Tensor, obs: Tensor, noise: Tensor, alpha: Tensor
    ) -> tuple[Tensor, Tensor]:
        action, log_prob = act_with_log_prob(self.actor_space.view(flat), obs, noise)
        q = critic(self.critic_space.view(critic_flat), obs, action)
        value = q.amin(0) if self.config.target_subset is None else q.mean(0)
        loss = (alpha * log_prob - value).mean()
        return loss, log_prob
