"""Uncertainty-penalised planning: MPPI inside the ensemble, for many start states at once.

Objective of a candidate, our reading of WOMBET's penalised planner (the paper's equation is not
known to us), with the penalty of MOPO (Yu et al. 2020, eq. 3) and the terminal value of TD-MPC2:

    G = Σ_{t<H} γ^t (r̂_t - λ u_t) + γ^H min_e Q_e(s_H, π(s_H))

Candidates come half from the policy, half from a broad Gaussian: those of one prior share nearly
the same uncertainty and leave the penalty nothing to choose (LEARNING.md § 4, Q3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.networks import Named, act, critic
from offboard.world_model import WorldModel


@dataclass(frozen=True)
class PlanConfig:
    """Sizes and weights of the search.

    Attributes:
        horizon: H, steps of the model.
        policy_candidates: sequences that the policy proposes.
        random_candidates: the last plan with noise.
        elites: best candidates, whose weighted mean is the plan.
        temperature: of the elites' weights, in units of return.
        random_std: of that noise, in units of action.
        penalty: λ in units of reward per uncertainty.
    """

    horizon: int = 6
    policy_candidates: int = 8
    random_candidates: int = 8
    elites: int = 6
    temperature: float = 0.5
    random_std: float = 0.6
    penalty: float = 1.0


class Planner:
    """Plans with one ensemble and one actor-critic, all given at construction."""

    def __init__(
        self,
        model: WorldModel,
        state: ModelState,
        actor: Named,
        values: Named,
        config: PlanConfig,
        discount: float,
        generator: torch.Generator,
    ) -> None:
        self._model = model
        self._state = state
        self._actor = actor
        self._values = values
        self._config = config
        self._discount = discount
        self._generator = generator

    def plan(self, obs: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """One MPPI step.

        Args:
            obs: (S, O) present observations.
            mean: (S, H, A) last plan, already shifted by one tick.

        Returns:
            The first action (S, A) and the new plan (S, H, A), not shifted.
        """
        candidates = torch.cat([self._follow_policy(obs), self._perturb(mean)], dim=1)
        value = self._value(obs, candidates)  # (S, N)
        top, index = value.topk(self._config.elites, dim=1)
        weight = torch.softmax((top - top[:, :1]) / self._config.temperature, dim=1)  # (S, E)
        index = index[:, :, None, None].expand(-1, -1, *candidates.shape[2:])
        plan = (weight[:, :, None, None] * candidates.gather(1, index)).sum(1)
        return plan[:, 0], plan

    def _follow_policy(self, obs: Tensor) -> Tensor:
        """(S, O) → (S, N, H, A): what the noisy policy would do inside the model."""
        N, H, A = self._config.policy_candidates, self._config.horizon, self._model.action_size
        state, actions = obs.repeat_interleave(N, 0), []
        for _ in range(H):
            noise = torch.randn(state.shape[0], A, generator=self._generator)
            action = act(self._actor, state, noise.to(obs.device))
            actions.append(action)
            state = self._model.expect(self._state, state, action).following
        return torch.stack(actions, 1).view(obs.shape[0], N, H, A)

    def _perturb(self, mean: Tensor) -> Tensor:
        """(S, H, A) → (S, N, H, A): broad noise around the last plan."""
        N = self._config.random_candidates
        noise = torch.randn(mean.shape[0], N, *mean.shape[1:], generator=self._generator)
        return (mean[:, None] + self._config.random_std * noise.to(mean.device)).clamp(-1.0, 1.0)

    def _value(self, obs: Tensor, candidates: Tensor) -> Tensor:
        """Penalised return G of every candidate: (S, N, H, A) → (S, N)."""
        S, N, H, A = candidates.shape
        state = obs.repeat_interleave(N, 0)
        flat = candidates.view(S * N, H, A)
        total, alive = obs.new_zeros(S * N), obs.new_ones(S * N)
        for t in range(H):
            step = self._model.expect(self._state, state, flat[:, t])
            gain = step.reward - self._config.penalty * step.uncertainty
            total += self._discount**t * alive * gain
            alive *= 1.0 - step.terminated
            state = step.following
        last = act(self._actor, state, obs.new_zeros(S * N, A))
        tail = critic(self._values, state, last).amin(0)
        return (total + self._discount**H * alive * tail).view(S, N)
