"""The filter: of generated trajectories, what is worth learning from.

1. *Truncation*: a trajectory ends before the first step whose uncertainty passes a bound; what the
   model imagined beyond it counts for nothing. Ancestor: MOReL's halt state (LEARNING.md § 2).
2. *Dual criterion*: high return and low uncertainty, by quantiles of the generated set (our design;
   the paper's thresholds are not known to us).
3. *Coverage*: certain trajectories that are not good enough come back where they visit regions that
   the kept ones hardly do: a narrow, expert-only set lost to the raw replay (LEARNING.md § 4).
   Certainty is never waived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.generate import Trajectories
from offboard.regions import regions
from offboard.replay import Batch


@dataclass(frozen=True)
class FilterConfig:
    """Thresholds of the three criteria.

    Attributes:
        return_quantile: trajectories of the generated set below it are not good. LEARNING.md § 4.
        uncertainty_quantile: trajectories above it are not certain.
        step_quantile: of the uncertainty on *real* source steps; a step above it is cut off.
        regions: of state and action, among which coverage is counted; 0 drops the criterion.
        evenness: steps a region should have, as a share of an even spread of all trusted steps.
        gain_min: share of its steps that must serve such regions for a trajectory to come back.
    """

    return_quantile: float = 0.3
    uncertainty_quantile: float = 0.7
    step_quantile: float = 0.999
    regions: int = 64
    evenness: float = 0.25
    gain_min: float = 0.1


class Selection(NamedTuple):
    """What the filter made of M trajectories of T steps.

    Attributes:
        keep: (M,) bool, the trajectories kept.
        steps: (M, T) bool, their trusted steps: the transitions to learn from.
        returns: (M,) as compared; what was cut off counts at the rate of what was not.
        uncertainty: (M,) mean over trusted steps.
        coverage: how much of what regions should have, and could have, is kept: in [0, 1], or nan
            where it is no criterion.
    """

    keep: Tensor
    steps: Tensor
    returns: Tensor
    uncertainty: Tensor
    coverage: float


def select(made: Trajectories, limit: float, config: FilterConfig) -> Selection:
    """Truncate at uncertainty ``limit``, apply the dual criterion, fill in what is not covered."""
    trusted = trusted_steps(made, limit)
    length = trusted.sum(1)
    uncertainty = (trusted * made.step_uncertainty).sum(1) / length.clamp_min(1)
    earned = (trusted * made.steps.reward).sum(1)
    returns = earned * made.live.sum(1) / length.clamp_min(1)
    usable = (length > 0).nonzero()[:, 0]
    keep, certain = torch.zeros_like(length, dtype=torch.bool).repeat(2, 1)
    if usable.numel():
        keep[usable] = keep_mask(returns[usable], uncertainty[usable], config)
        certain[usable] = _certain(uncertainty[usable], config)
    keep, coverage = _covering(made, trusted, keep, certain, config)
    return Selection(keep, trusted & keep[:, None], returns, uncertainty, coverage)


def trusted_steps(made: Trajectories, limit: float) -> Tensor:
    """(M, T) bool: live steps before the first one whose uncertainty exceeds ``limit``."""
    return made.live & ((made.step_uncertainty > limit).cumsum(1) == 0)


def keep_mask(returns: Tensor, uncertainty: Tensor, config: FilterConfig) -> Tensor:
    """Which of M trajectories pass the dual criterion: (M,), (M,) → (M,) bool."""
    enough = returns >= torch.quantile(returns, config.return_quantile)
    return enough & _certain(uncertainty, config)


def cover(visits: Tensor, keep: Tensor, certain: Tensor, quota: float, gain_min: float) -> Tensor:
    """Add certain trajectories, the most useful first, while they serve under-visited regions.

    Args:
        visits: (M, R) steps of each trajectory in each region.
        keep: (M,) bool, kept already.
        certain: (M,) bool, allowed.
        quota: steps every region should have.
        gain_min: least share of a trajectory's steps that must count towards a quota.

    Returns:
        (M,) bool. Source: greedy maximisation of a submodular gain, Nemhauser et al. 1978.
    """
    keep, length = keep.clone(), visits.sum(1).clamp_min(1)
    while True:
        missing = (quota - visits[keep].sum(0)).clamp_min(0.0)  # (R,)
        gain = torch.minimum(visits, missing).sum(1) / length
        gain[keep | ~certain] = 0.0
        best = int(gain.argmax())
        if gain[best] <= 0.0 or gain[best] < gain_min:
            return keep
        keep[best] = True


def kept_transitions(trajectories: Trajectories, steps: Tensor) -> Batch:
    """The transitions (N, …) that ``steps`` (M, T) bool marks."""
    return Batch(*(column[steps] for column in trajectories.steps))


def _certain(uncertainty: Tensor, config: FilterConfig) -> Tensor:
    return uncertainty <= torch.quantile(uncertainty, config.uncertainty_quantile)


def _covering(
    made: Trajectories, trusted: Tensor, keep: Tensor, certain: Tensor, config: FilterConfig
) -> tuple[Tensor, float]:
    """``keep`` (M,) with what coverage adds, and the coverage reached."""
    if config.regions == 0:
        return keep, math.nan
    if not trusted.any():
        return keep, 0.0
    visits = _visits(made, trusted, config.regions)
    quota = config.evenness * float(visits.sum()) / config.regions
    keep = cover(visits, keep, certain, quota, config.gain_min)
    possible = visits.sum(0).clamp_max(quota).sum()
    return keep, float(visits[keep].sum(0).clamp_max(quota).sum() / possible)


def _visits(made: Trajectories, trusted: Tensor, count: int) -> Tensor:
    """(M, R) trusted steps of each trajectory in each of ``count`` regions."""
    pairs = torch.cat([made.steps.obs, made.steps.applied], -1)[trusted]  # (N, O + A)
    of_trajectory = trusted.nonzero()[:, 0]
    flat = of_trajectory * count + regions(pairs, count)
    M = trusted.shape[0]
    return torch.bincount(flat, minlength=M * count).view(M, count).float()
