"""The dual filter: keep trajectories of high return *and* low epistemic uncertainty.

Thresholds are quantiles of the generated set (our design; the paper's are not known to us).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from offboard.generate import Trajectories
from offboard.replay import Batch


@dataclass(frozen=True)
class FilterConfig:
    """Return at or above its quantile, uncertainty at or below its own. LEARNING.md § 4."""

    return_quantile: float = 0.3
    uncertainty_quantile: float = 0.7


def keep_mask(returns: Tensor, uncertainty: Tensor, config: FilterConfig) -> Tensor:
    """Which of M trajectories pass both criteria: (M,), (M,) → (M,) bool."""
    enough = returns >= torch.quantile(returns, config.return_quantile)
    certain = uncertainty <= torch.quantile(uncertainty, config.uncertainty_quantile)
    return enough & certain


def kept_transitions(trajectories: Trajectories, keep: Tensor) -> Batch:
    """All transitions of the kept trajectories (N, …), up to and including a termination."""
    chosen = trajectories.live & keep[:, None]
    return Batch(*(column[chosen] for column in trajectories.steps))
