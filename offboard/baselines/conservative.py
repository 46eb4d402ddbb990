"""Conservative Q-learning, CQL(H), and its calibrated form: one pure update on SAC's state.

Sources: CQL, Kumar et al. 2020 (arXiv 2006.04779), eq. 4 and appendix F (importance sampling of the
log-sum-exp); Cal-QL, Nakamoto et al. 2023 (arXiv 2303.05479), § 5; constants of its code: ten
actions of each kind, backup to the best of ten next actions, no entropy in the backup.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value

from offboard.baselines.episodes import returns_to_go
from offboard.compiled import compiled
from offboard.networks import act_with_log_prob, critic
from offboard.parameters import Adam
from offboard.replay import Batch
from offboard.sac import Noise, Sac, SacState


@dataclass(frozen=True)
class CqlConfig:
    """``weight`` of the conservative term; ``calibrate`` makes it Cal-QL, without it is CQL(H)."""

    weight: float
    actions: int
    calibrate: bool


class Valued(NamedTuple):
    """N transitions and what followed: the discounted return from each on, (N,)."""

    steps: Batch
    returns: Tensor

    @property
    def size(self) -> int:
        """N."""
        return self.steps.size

    def take(self, index: Tensor) -> Valued:
        """The transitions at ``index`` (M,)."""
        return Valued(self.steps.take(index), self.returns[index])

    def sample(self, count: int, generator: torch.Generator) -> Valued:
        """``count`` transitions, uniformly with replacement."""
        return self.take(torch.randint(self.size, (count,), generator=generator))


def valued(episodes: Batch, discount: float) -> Valued:
    """Transitions in the order they happened, with their returns."""
    return Valued(episodes, returns_to_go(episodes, discount))


def join_valued(first: Valued, second: Valued) -> Valued:
    """Both, in order."""
    steps = Batch(*(torch.cat(columns) for columns in zip(first.steps, second.steps, strict=True)))
    return Valued(steps, torch.cat([first.returns, second.returns]))


class CqlNoise(NamedTuple):
    """The chance of one update, n actions of each kind.

    Attributes:
        random: (n, B, A) uniform actions.
        here: (n, B, A) unit normals of the policy's actions at the observation.
        ahead: (n, B, A) the same at the next observation.
        sac: what SAC's own update draws.
    """

    random: Tensor
    here: Tensor
    ahead: Tensor
    sac: Noise


class CqlLoss(NamedTuple):
    """Scalars of one update."""

    critic: Tensor
    gap: Tensor
    actor: Tensor


class Conservative:
    """Trains the networks of ``sac`` pessimistically; the state it leaves is SAC's own."""

    def __init__(self, sac: Sac, discount: float, config: CqlConfig) -> None:
        self._sac = sac
        self._discount = discount
        self._config = config
        self._adam = Adam(sac.config.lr)
        self.update = compiled(self._update)

    def noise(self, generator: torch.Generator) -> CqlNoise:
        """Fresh chance for one update."""
        sac, n = self._sac, self._config.actions
        B, A = sac.config.batch, sac.action_size
        return CqlNoise(
            2.0 * torch.rand(n, B, A, generator=generator) - 1.0,
            torch.randn(n, B, A, generator=generator),
            torch.randn(n, B, A, generator=generator),
            sac.noise(generator),
        )

    def _update(self, s: SacState, batch: Valued, noise: CqlNoise) -> tuple[SacState, CqlLoss]:
        """One gradient step on critics, actor and temperature, then Polyak averaging."""
        steps = batch.steps
        here, here_log_prob = self._propose(s.actor, steps.obs, noise.here)
        ahead, ahead_log_prob = self._propose(s.actor, steps.following, noise.ahead)
        rivals = torch.cat([noise.random, here, ahead])  # (3n, B, A)
        uniform = torch.full_like(here_log_prob, -self._sac.action_size * math.log(2.0))
        log_density = torch.cat([uniform, here_log_prob, ahead_log_prob])
        target = self._target(s, steps, ahead, noise.sac.critics)
        gradient, (loss, gap) = grad_and_value(self._critic_loss, has_aux=True)(
            s.critic, batch, target, rivals, log_density
        )
        stepped = self._adam.step(s.critic, gradient, s.critic_m, s.critic_v, s.step + 1.0)
        state, actor_loss = self._sac.improve(s, stepped, steps.obs, noise.sac.action[1])
        return state, CqlLoss(loss, gap, actor_loss)

    def _propose(self, flat: Tensor, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's actions (n, B, A) at ``obs`` (B, O) and their log-densities (n, B)."""
        return act_with_log_prob(self._sac.actor_space.view(flat), obs, noise)

    def _target(self, s: SacState, steps: Batch, ahead: Tensor, critics: Tensor) -> Tensor:
        """(B,) reward and the best of the proposed next actions, by the least critic."""
        least = (
            self._values(s.target, steps.following, ahead).index_select(0, critics).amin(0)
        )  # (n, B)
        return steps.reward + self._discount * (1.0 - steps.terminated) * least.amax(0)

    def _critic_loss(
        self, flat: Tensor, batch: Valued, target: Tensor, rivals: Tensor, log_density: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Squared error plus how far soft-maximal actions are valued above those of the data."""
        steps = batch.steps
        q = critic(self._sac.critic_space.view(flat), steps.obs, steps.applied)  # (E, B)
        rival = self._values(flat, steps.obs, rivals)  # (E, 3n, B)
        if self._config.calibrate:
            of_policy = torch.maximum(rival[:, self._config.actions :], batch.returns)
            rival = torch.cat([rival[:, : self._config.actions], of_policy], 1)
        gap = (torch.logsumexp(rival - log_density, 1) - q).mean(-1)  # (E,)
        error = ((q - target) ** 2).mean(-1)
        return (error + self._config.weight * gap).sum(), gap.mean()

    def _values(self, flat: Tensor, obs: Tensor, actions: Tensor) -> Tensor:
        """Q of ``actions`` (M, B, A) at ``obs`` (B, O): (E, M, B)."""
        M, B, A = actions.shape
        spread = obs.expand(M, B, -1).reshape(M * B, -1)
        q = critic(self._sac.critic_space.view(flat), spread, actions.reshape(M * B, A))
        return q.view(-1, M, B)
