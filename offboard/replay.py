"""Transitions in tensors, and a ring that keeps the newest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.device import CPU, moved


class Batch(NamedTuple):
    """N transitions: obs (N, O), applied (N, A), reward (N,), following (N, O), terminated (N,)."""

    obs: Tensor
    applied: Tensor
    reward: Tensor
    following: Tensor
    terminated: Tensor

    def take(self, index: Tensor) -> Batch:
        """The transitions at ``index`` (M,)."""
        return Batch(*(column[index] for column in self))

    @property
    def size(self) -> int:
        """N (``len`` of a named tuple is its number of fields)."""
        return self.obs.shape[0]


def empty(O: int, A: int) -> Batch:
    """No transitions of O observation columns and A actions."""
    return Batch(
        torch.zeros(0, O), torch.zeros(0, A), torch.zeros(0), torch.zeros(0, O), torch.zeros(0)
    )


def join(parts: Iterable[Batch]) -> Batch:
    """All transitions of ``parts`` in order."""
    return Batch(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


class Replay:
    """The newest ``capacity`` transitions, on ``device``, sampled uniformly with replacement."""

    def __init__(self, O: int, A: int, capacity: int, device: torch.device = CPU) -> None:
        self.device = device
        self._capacity = capacity
        columns = ((capacity, O), (capacity, A), (capacity,), (capacity, O), (capacity,))
        self._store = Batch(*(torch.zeros(shape, device=device) for shape in columns))
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    @property
    def added(self) -> int:
        """Transitions ever added."""
        return self._added

    def add(self, batch: Batch) -> None:
        """Append transitions, overwriting the oldest when full."""
        fresh = torch.arange(batch.size, device=self.device)[-self._capacity :]
        index = (self._added + fresh) % self._capacity
        for column, values in zip(self._store, moved(batch, self.device), strict=True):
            column[index] = values[-self._capacity :]
        self._added += batch.size

    def all(self) -> Batch:
        """Every transition held, oldest first."""
        start = self._added % self._capacity if self._added > self._capacity else 0
        index = (start + torch.arange(len(self), device=self.device)) % self._capacity
        return self._store.take(index)

    def sample(self, count: int, generator: torch.Generator) -> Batch:
        """``count`` transitions. Raises RuntimeError when empty."""
        index = torch.randint(len(self), (count,), generator=generator)
        return self._store.take(index.to(self.device))
