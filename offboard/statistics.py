"""Rank correlation, the one statistic the stages report."""

from __future__ import annotations

import torch
from torch import Tensor


def spearman(x: Tensor, y: Tensor) -> float:
    """Spearman's ρ of two samples (N,) without ties; nan for fewer than three."""
    if x.shape[0] < 3:
        return float("nan")
    ranks = torch.stack([_ranks(x), _ranks(y)])
    return float(torch.corrcoef(ranks)[0, 1])


def _ranks(x: Tensor) -> Tensor:
    ranks = torch.empty_like(x)
    ranks[x.argsort()] = torch.arange(x.shape[0], dtype=x.dtype)
    return ranks
