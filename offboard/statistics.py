"""Rank statistics: how well one quantity orders another."""

from __future__ import annotations

import torch
from torch import Tensor


def spearman(x: Tensor, y: Tensor) -> float:
    """Spearman's ρ of two samples (N,); tied values share a rank; nan for fewer than three."""
    if x.shape[0] < 3:
        return float("nan")
    return float(torch.corrcoef(torch.stack([_ranks(x), _ranks(y)]))[0, 1])


def auc(score: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve of ``score`` (N,) as a detector of ``positive`` (N,) bool.

    The chance that a positive outscores a negative, ties counting half: 0.5 is a coin. nan where
    either kind is missing. Source: Mann & Whitney 1947, U / (n₁ n₂).
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return float("nan")
    below = _ranks(score)[positive].sum() - positives * (positives - 1) / 2
    return float(below / (positives * negatives))


def _ranks(x: Tensor) -> Tensor:
    """Ranks from 0 (N,); equal values get the mean of the ranks they cover."""
    x = x.contiguous()
    ordered = x.sort().values
    first, after = (torch.searchsorted(ordered, x, right=right) for right in (False, True))
    return (first + after - 1).double() / 2.0
