"""Uncertainty of a world model at a state and action: one interface, several estimators.

What the members predict (:mod:`offboard.spread`), or what that means for the value: the spread of
critic heads (FOWM, Feng et al. 2023; LEARNING.md § 2), or of the values of the members' next
states, which a change of reward or of horizon reaches and a change of scale of one column does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.networks import Named, act, critic
from offboard.replay import Batch
from offboard.spread import SPREADS, Spread
from offboard.statistics import auc, spearman
from offboard.world_model import WorldModel
from protocol.errors import ConfigError

Estimator = Callable[[ModelState, Tensor, Tensor], Tensor]
"""Model state, obs (B, O), applied (B, A) → uncertainty (B,)."""

WORST = 0.1
NEIGHBOURS = 16
SAMPLE = 4_000


class Values(NamedTuple):
    """The actor and critics that tell what a state is worth."""

    actor: Named
    critics: Named


@dataclass(frozen=True)
class Quality:
    """How well an estimator orders true errors, and finds the worst tenth of them.

    Attributes:
        spearman: rank correlation with the squared error of single steps.
        auc: of telling the worst tenth of these from the others.
        spearman_expected: rank correlation with the *expected* squared error, estimated as the mean
            over a step's neighbours in state and action. One step's error is one draw around that:
            where a sensor's rounding dominates, single draws cannot be ordered by any estimator.
    """

    spearman: float
    auc: float
    spearman_expected: float


def estimators(model: WorldModel, values: Values | None = None) -> dict[str, Estimator]:
    """Every estimator by name; those of value only where ``values`` are given."""
    found = {name: _of_predictions(model, spread) for name, spread in SPREADS.items()}
    if values is not None:
        found["critics"] = _of_critics(values)
        found["value"] = _of_next_values(model, values)
    return found


def estimator(name: str, model: WorldModel, values: Values | None = None) -> Estimator:
    """One estimator. Raises ConfigError for an unknown name, or one that lacks ``values``."""
    found = estimators(model, values)
    if name not in found:
        raise ConfigError(f"no uncertainty {name!r} here; there are {', '.join(found)}")
    return found[name]


@torch.no_grad()
def quality(estimate: Estimator, model: WorldModel, state: ModelState, data: Batch) -> Quality:
    """Judge ``estimate`` by the model's squared one-step error on ``data`` it was not fitted to.

    Of more than ``SAMPLE`` transitions every n-th is used.
    """
    every = torch.arange(0, data.size, -(-data.size // SAMPLE), device=data.obs.device)
    data = data.take(every)
    place = torch.cat([data.obs, data.applied], -1)
    return judge(estimate(state, data.obs, data.applied), model.squared_error(state, data), place)


def judge(uncertainty: Tensor, error: Tensor, place: Tensor) -> Quality:
    """Quality of ``uncertainty`` (N,) as an order of ``error`` (N,) found at ``place`` (N, ·)."""
    worst = error >= torch.quantile(error, 1.0 - WORST)
    return Quality(
        spearman(uncertainty, error),
        auc(uncertainty, worst),
        spearman(uncertainty, local_mean(error, place, NEIGHBOURS)),
    )


def local_mean(values: Tensor, place: Tensor, neighbours: int) -> Tensor:
    """Each of ``values`` (N,) averaged with its nearest in standardised ``place`` (N, ·): (N,).

    ``neighbours`` of them, itself among them; all of them if there are fewer.
    """
    x = (place - place.mean(0)) / place.std(0, unbiased=False).clamp_min(1e-6)
    count = min(neighbours, values.shape[0])
    nearest = [
        torch.cdist(part, x).topk(count, largest=False).indices for part in torch.split(x, 512)
    ]
    return values[torch.cat(nearest)].mean(1)


def _of_predictions(model: WorldModel, spread: Spread) -> Estimator:
    return lambda state, obs, applied: spread(*model.predict(state, obs, applied))


def _of_critics(values: Values) -> Estimator:
    """Standard deviation over critic heads of Q(s, a); the model plays no part."""

    def estimate(state: ModelState, obs: Tensor, applied: Tensor) -> Tensor:
        return critic(values.critics, obs, applied).std(0, unbiased=False)

    return estimate


def _of_next_values(model: WorldModel, values: Values) -> Estimator:
    """Standard deviation over members of the value of the next state that each predicts."""

    def estimate(state: ModelState, obs: Tensor, applied: Tensor) -> Tensor:
        following = model.member_steps(state, obs, applied)  # (K, B, O)
        K, B, O = following.shape
        flat = following.reshape(K * B, O)
        action = act(values.actor, flat, flat.new_zeros(K * B, applied.shape[-1]))
        worth = critic(values.critics, flat, action).mean(0).view(K, B)
        return worth.std(0, unbiased=False)

    return estimate
