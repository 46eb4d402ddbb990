"""What a world model must know of an observation's columns."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Columns(Protocol):
    """The part of :class:`protocol.observation.Layout` that a model uses.

    Attributes:
        size: O.
        action_size: A.
        labels: one name per column; a ``cos:x`` beside a ``sin:x`` is kept on the unit circle.
        history: (column, action, age in ticks) of columns that hold earlier actions.
    """

    size: int
    action_size: int
    labels: list[str]
    history: list[tuple[int, int, int]]

    def shift_history(self, obs: Any, applied: Any, following: Any) -> Any:
        """``following`` (..., O) with its action history derived from what was done."""


class Unnamed:
    """O columns of which nothing is known: every one is learned."""

    def __init__(self, size: int, action_size: int) -> None:
        self.size = size
        self.action_size = action_size
        self.labels = [f"column:{index}" for index in range(size)]
        self.history: list[tuple[int, int, int]] = []

    def shift_history(self, obs: Tensor, applied: Tensor, following: Tensor) -> Tensor:
        """Nothing to derive."""
        return following


class LastAction(Unnamed):
    """O columns of which A, from ``first`` on, hold the action of the tick before."""

    def __init__(self, size: int, action_size: int, first: int) -> None:
        super().__init__(size, action_size)
        self._first = first
        self.history = [(first + index, index, 1) for index in range(action_size)]

    def shift_history(self, obs: Tensor, applied: Tensor, following: Tensor) -> Tensor:
        """``following`` (..., O) with ``applied`` (..., A) where the last action stands."""
        end = self._first + self.action_size
        return torch.cat([following[..., : self._first], applied, following[..., end:]], -1)
