"""Mismatch: how far the target lies from the source, measured on target transitions.

Disagreement learned in the source cannot see that the dynamics changed (LEARNING.md § 4, Q3), so
the change is measured where it shows: in the model's error, and in how much of the prior data
lies where the target goes. Every figure needs transitions that neither model was fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.replay import Batch
from offboard.statistics import auc
from offboard.world_model import WorldModel

BOX_MARGIN = 0.1
FEATURES = 128
RIDGE = 1e-2
PESSIMISM_MAX = 3.0
"""Of the penalty in use: the largest that was tried on tuning seeds (docs/results/transfer.md)."""


@dataclass(frozen=True)
class Mismatch:
    """Source against target; errors are 0 for a perfect model, shares lie in [0, 1].

    Attributes:
        source_nmse: one-step error of the source model.
        adapted_nmse: the same of the adapted model.
        source_reward_nmse: squared error of its reward over the reward's spread in the source.
        adapted_reward_nmse: the same of the adapted model.
        support: share of prior states inside the range of target states in *every* column. It
            shrinks as columns are added.
        column_support: share inside, one column at a time, averaged: it does not.
        overlap: 1 where a classifier cannot tell prior from target states, 0 where it always can.
    """

    source_nmse: float
    adapted_nmse: float
    source_reward_nmse: float
    adapted_reward_nmse: float
    support: float
    column_support: float
    overlap: float

    @property
    def finite(self) -> bool:
        """Whether every figure is a number."""
        return all(math.isfinite(value) for value in astuple(self))


@torch.no_grad()
def measure(
    model: WorldModel,
    source: ModelState,
    adapted: ModelState,
    prior: Batch,
    held: Batch,
    generator: torch.Generator,
) -> Mismatch:
    """Mismatch between ``prior`` data and ``held``-out target transitions, at least four of each.

    Args:
        model: the ensemble's functions.
        source: as fitted to the source.
        adapted: as fitted to target transitions other than ``held``.
        prior: source transitions.
        held: target transitions, the newest.
        generator: of the classifier's features and folds.
    """
    inside = _inside(prior.obs, held.obs)
    return Mismatch(
        source_nmse=model.nmse(source, held),
        adapted_nmse=model.nmse(adapted, held),
        source_reward_nmse=model.reward_nmse(source, held),
        adapted_reward_nmse=model.reward_nmse(adapted, held),
        support=float(inside.all(-1).float().mean()),
        column_support=float(inside.float().mean()),
        overlap=overlap(prior.obs, held.obs, generator),
    )


def pessimism(error: float, stated: float) -> float:
    """How much dearer the adapted model's uncertainty is than it says: in [1, PESSIMISM_MAX].

    The root of ``error``, its mean squared error on target transitions new to it, over ``stated``,
    the mean square of its uncertainty there. A model that is surer than it may be is penalised more
    in proportion; one that is not keeps the penalty it has. Ancestor: temperature scaling, which
    corrects a stated variance by one factor from held-out data (Guo et al. 2017; for regression
    Kuleshov et al. 2018). What is not a number counts as the worst.
    """
    ratio = math.sqrt(error / stated) if stated > 0.0 and error >= 0.0 else math.inf
    return max(1.0, ratio) if ratio < PESSIMISM_MAX else PESSIMISM_MAX


def overlap(prior: Tensor, target: Tensor, generator: torch.Generator) -> float:
    """How hard (N, O) prior and (M, O) target states are to tell apart: 1 - 2 |AUC - ½|.

    A classifier sees one half of each and is scored on the other. It is a ridge regression on
    random ReLU features with as much weight on either domain: one linear solve, no training loop.
    Source: random features, Rahimi & Recht 2008; a domain classifier as a measure of shift,
    Ben-David et al. 2010 (proxy A-distance).
    """
    (seen_prior, new_prior), (seen_target, new_target) = (
        _halves(states, generator) for states in (prior, target)
    )
    lift = _features(torch.cat([seen_prior, seen_target]), generator)
    weights = _classifier(lift(seen_prior), lift(seen_target))
    score = torch.cat([lift(new_prior), lift(new_target)]) @ weights
    is_target = torch.arange(score.shape[0], device=score.device) >= new_prior.shape[0]
    return 1.0 - 2.0 * abs(auc(score, is_target) - 0.5)


def _inside(prior: Tensor, target: Tensor) -> Tensor:
    """(N, O) bool: the prior's values within [min - 10 %, max + 10 %] of the target's.

    Source: LEARNING.md § 6 E, "BOX".
    """
    low, high = target.amin(0), target.amax(0)
    margin = BOX_MARGIN * (high - low)
    return (prior >= low - margin) & (prior <= high + margin)


def _halves(states: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(states.shape[0], generator=generator).to(states.device)
    return states[order[::2]], states[order[1::2]]


def _features(states: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """States (N, O) → features (N, F): 1, the standardised state and random ReLUs of it."""
    mean, std = states.mean(0), states.std(0).clamp_min(1e-6)
    O = states.shape[1]
    direction = torch.randn(O, FEATURES, generator=generator).to(states.device) / O**0.5
    offset = torch.randn(FEATURES, generator=generator).to(states.device)

    def lift(batch: Tensor) -> Tensor:
        x = (batch - mean) / std
        return torch.cat([x.new_ones(x.shape[0], 1), x, torch.relu(x @ direction + offset)], -1)

    return lift


def _classifier(prior: Tensor, target: Tensor) -> Tensor:
    """Least squares towards -1 on ``prior`` (N, F) and +1 on ``target`` (M, F), ridge: (F,)."""
    gram = prior.T @ prior / prior.shape[0] + target.T @ target / target.shape[0]
    gram += RIDGE * torch.eye(gram.shape[0], device=gram.device)
    weights: Tensor = torch.linalg.solve(gram, target.mean(0) - prior.mean(0))
    return weights
