"""Transitions sampled in proportion to a priority that may change."""

from __future__ import annotations

import torch
from torch import Tensor

from offboard.replay import Batch


def stratified(priority: Tensor, uniform: Tensor) -> Tensor:
    """One index from each of B equal slices of the total priority: (N,), (B,) → (B,).

    Args:
        priority: (N,) not negative, not all zero.
        uniform: (B,) in [0, 1), where in its slice each draw falls.
    """
    edges = priority.double().cumsum(0)
    B = uniform.shape[0]
    points = (torch.arange(B) + uniform.double()) / B * edges[-1]
    index = torch.searchsorted(edges, points, right=True)
    return index.clamp_max(priority.shape[0] - 1)


class PriorityReplay:
    """The newest ``capacity`` transitions, each with its priority."""

    def __init__(self, O: int, A: int, capacity: int) -> None:
        self._store = Batch(
            torch.zeros(capacity, O),
            torch.zeros(capacity, A),
            torch.zeros(capacity),
            torch.zeros(capacity, O),
            torch.zeros(capacity),
        )
        self._priority = torch.zeros(capacity)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._priority.shape[0])

    @property
    def priority(self) -> Tensor:
        """(N,) present priorities by slot."""
        return self._priority[: len(self)]

    def add(self, batch: Batch, priority: float) -> None:
        """Append no more than ``capacity`` transitions of equal priority, over the oldest."""
        index = (self._added + torch.arange(batch.size)) % self._priority.shape[0]
        for column, values in zip(self._store, batch, strict=True):
            column[index] = values
        self._priority[index] = priority
        self._added += batch.size

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Batch]:
        """Slots (count,) and their transitions."""
        index = stratified(self.priority, torch.rand(count, generator=generator))
        return index, self._store.take(index)

    def reprioritise(self, index: Tensor, priority: Tensor) -> None:
        """New priorities (M,) for the slots ``index`` (M,)."""
        self._priority[index] = priority
