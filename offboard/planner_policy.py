"""The planner as a policy: MPPI in the adapted world model, at every tick, on the robot.

Every candidate follows the actor inside the model and adds a push of its own, held over the
horizon; the first adds none. What is done is the mean of their first actions, weighted by the
penalised objective of :mod:`offboard.planner`::

    w_i ∝ exp(G_i / τ),    G = Σ_{t<H} γ^t (r̂_t - λ u_t) + γ^H min_e Q_e(s_H, π(s_H))

Sources: MPPI (Williams et al. 2017), eq. 26, for the weights; TD-MPC2 (Hansen et al. 2024) for the
terminal value. Three things are not theirs (ADR 9): pushes come in a fixed set of opposite pairs,
which finds as much as fresh noise and makes the policy a function of its observation; candidates
follow the actor in closed loop, so that no plan is carried from tick to tick; and elites are not
cut off, because a hard choice would turn the last bit of a sum into another action, where an
exported graph must agree with torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.networks import Named, actor, critic
from offboard.parameters import Space
from offboard.sac import Sac, SacState
from offboard.world_model import WorldModel

Shapes = dict[str, tuple[int, ...]]

_NORMALISER = ("in_mean", "in_std", "out_mean", "out_std", "low", "high", "reward_range")
_TRAINING = ("weights", "m", "v", "step")


@dataclass(frozen=True)
class SearchConfig:
    """Size and weights of the search at every tick.

    Attributes:
        horizon: H, steps of the model.
        pairs: of opposite pushes; there are N = 2 · pairs + 1 candidates.
        reach: of the largest push, in units of action.
        temperature: τ in units of return.
        penalty: λ in units of reward per uncertainty, before the target's mismatch raises it.
        seed: of the directions, where there is more than one action.
    """

    horizon: int = 6
    pairs: int = 8
    reach: float = 0.8
    temperature: float = 1.0
    penalty: float = 1.0
    seed: int = 0


class PlannerArchitecture:
    """Actor, critics and ensemble of one task, and the pushes to search with.

    Everything is a parameter, pushes, λ and τ included: a better search is a new weight file.
    Sizes, the discount and the task's reward are the graph's.

    Args:
        model: the ensemble's functions.
        sac: the learner whose actor and critics are used.
        discount: of the task.
        config: of the search.
    """

    def __init__(self, model: WorldModel, sac: Sac, discount: float, config: SearchConfig) -> None:
        self._model, self._sac = model, sac
        self._discount, self._horizon = discount, config.horizon
        self._search = {
            "search.pushes": _pushes(config, sac.action_size),
            "search.temperature": torch.tensor([config.temperature]),
            "search.penalty": torch.tensor([config.penalty]),
        }
        self.space = Space(
            {
                **sac.actor_space.shapes,
                **sac.critic_space.shapes,
                **model.space.shapes,
                **_normaliser_shapes(model),
                **{name: tuple(tensor.shape) for name, tensor in self._search.items()},
            }
        )

    def parameters(self, sac: SacState, model: ModelState, pessimism: float = 1.0) -> Tensor:
        """(P,): the learner's present actor, critics and adapted ensemble; λ times pessimism."""
        return self.space.flatten(
            {
                **self._sac.actor_space.view(sac.actor),
                **self._sac.critic_space.view(sac.critic),
                **self._model.space.view(model.weights),
                **{f"model.{name}": getattr(model, name) for name in _NORMALISER},
                **self._search,
                "search.penalty": pessimism * self._search["search.penalty"],
            }
        )

    def act(self, p: Named, obs: Tensor, noise: Tensor) -> Tensor:
        """(S, O), (S, A) → (S, A). Exploration has the actor's spread, around what was found."""
        first, value = self._rollouts(p, obs)
        S, N = value.shape
        weight = torch.softmax(value / p["search.temperature"], dim=-1).view(S, 1, N)
        best = (weight @ first).view(noise.shape)  # (S, A)
        _, log_std = actor(p, obs)
        spread = (1.0 - best**2) * log_std.exp()  # behind the squash, to first order
        return (best + spread * noise).clamp(-1.0, 1.0)

    def _rollouts(self, p: Named, obs: Tensor) -> tuple[Tensor, Tensor]:
        """First actions (S, N, A) and penalised returns (S, N) of all candidates."""
        S, (N, A) = obs.shape[0], p["search.pushes"].shape
        pushes = p["search.pushes"].expand(S, N, A).reshape(S * N, A)
        state = obs.view(S, 1, -1).expand(S, N, -1).reshape(S * N, -1)
        model, first = _model_state(p), _pushed(p, state, pushes)
        action, total, alive = first, torch.zeros(S * N), torch.ones(S * N)
        for t in range(self._horizon):
            step = self._model.expect_with(p, model, state, action)
            gain = step.reward - p["search.penalty"] * step.uncertainty
            total = total + self._discount**t * alive * gain
            alive = alive * (1.0 - step.terminated)
            state = step.following
            action = _pushed(p, state, pushes)
        tail = critic(p, state, torch.tanh(actor(p, state)[0])).amin(0)
        total = total + self._discount**self._horizon * alive * tail
        return first.view(S, N, A), total.view(S, N)


def _pushed(p: Named, state: Tensor, pushes: Tensor) -> Tensor:
    """The deterministic actor's action (B, A), pushed."""
    return (torch.tanh(actor(p, state)[0]) + pushes).clamp(-1.0, 1.0)


def _pushes(config: SearchConfig, A: int) -> Tensor:
    """(N, A): none, then opposite pairs, evenly from small ones to the largest.

    A push of one action is a grid; of several it is a random direction whose largest part is the
    push's size.
    """
    generator = torch.Generator().manual_seed(config.seed)
    direction = torch.randn(config.pairs, A, generator=generator)
    direction = direction / direction.abs().amax(1, keepdim=True)
    size = config.reach * torch.arange(1, config.pairs + 1) / config.pairs
    push = size[:, None] * direction
    return torch.cat([torch.zeros(1, A), push, -push])


def _normaliser_shapes(model: WorldModel) -> Shapes:
    _, inputs, _ = model.space.shapes["model.0.weight"]
    *_, outputs = model.space.shapes["model.mean.weight"]
    O = inputs - model.action_size
    sizes = (inputs, inputs, outputs, outputs, O, O, 2)
    return {f"model.{name}": (size,) for name, size in zip(_NORMALISER, sizes, strict=True)}


def _model_state(p: Named) -> ModelState:
    """The normaliser of the ensemble; what only training needs is left empty."""
    normaliser = {name: p[f"model.{name}"] for name in _NORMALISER}
    return ModelState(**normaliser, **dict.fromkeys(_TRAINING, torch.zeros(0)))
