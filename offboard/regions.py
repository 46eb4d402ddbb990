"""Regions of a cloud of points: spread evenly over where it reaches, not over where it is dense."""

from __future__ import annotations

import torch
from torch import Tensor


def regions(points: Tensor, count: int) -> Tensor:
    """The region, in [0, ``count``), of each of the points (N, D), in standardised columns.

    Centres are chosen greedily, each the point farthest from those before it: within a factor of
    two of the smallest possible radius. Source: Gonzalez 1985, "Clustering to minimize the maximum
    intercluster distance".
    """
    x = (points - points.mean(0)) / points.std(0, unbiased=False).clamp_min(1e-6)
    centre = x.square().sum(1).argmin()
    nearest = x.new_full(x.shape[:1], torch.inf)
    region = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
    for index in range(count):
        distance = (x - x[centre]).square().sum(1)
        closer = distance < nearest
        region[closer] = index
        nearest = torch.where(closer, distance, nearest)
        centre = nearest.argmax()
    return region
