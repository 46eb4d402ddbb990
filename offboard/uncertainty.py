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

from offboard.networks import Named, act, critic
from offboard.replay import Batch
from offboard.spread import SPREADS, Spread
from offboard.statistics import auc, spearman
from offboard.world_model import ModelState, WorldModel
from protocol.errors import ConfigError

Estimator = Callable[[ModelState, Tensor, Tensor], Tensor]
"""Model state, obs (B, O), applied (B, A) → uncertainty (B,)."""

WORST = 0.1


class Values(NamedTuple):
    """The actor and critics that tell what a state is worth."""

    actor: Named
    critics: Named


@dataclass(frozen=True)
class Quality:
    """How well an estimator orders true errors, and finds the worst tenth of them."""

    spearman: float
    auc: float


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

    Squared error of one step is a chi-square draw around its expectation: sensor noise alone
    keeps a perfect estimator of that expectation well below a correlation of 1.
    """
    return judge(estimate(state, data.obs, data.applied), model.squared_error(state, data))


def judge(uncertainty: Tensor, error: Tensor) -> Quality:
    """Quality of ``uncertainty`` (N,) as an order of ``error`` (N,)."""
    worst = error >= torch.quantile(error, 1.0 - WORST)
    return Quality(spearman(uncertainty, error), auc(uncertainty, worst))


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
        action = act(values.actor, flat, torch.zeros(K * B, applied.shape[-1]))
        worth = critic(values.critics, flat, action).mean(0).view(K, B)
        return worth.std(0, unbiased=False)

    return estimate
