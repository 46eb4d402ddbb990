"""Named tensors in one flat vector, so that an optimiser step is a handful of vector operations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Space:
    """Names and shapes of a parameter set and where each lies in the flat vector."""

    shapes: dict[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """P, the number of scalars."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def view(self, flat: Tensor) -> dict[str, Tensor]:
        """``flat`` (P,) as named tensors; views where the vector is contiguous."""
        parts = torch.split(flat, [math.prod(shape) for shape in self.shapes.values()])
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def flatten(self, named: dict[str, Tensor]) -> Tensor:
        """The inverse of :meth:`view`: (P,). Raises KeyError on a missing name."""
        return torch.cat([named[name].reshape(-1) for name in self.shapes])

    def initial(self, generator: torch.Generator) -> Tensor:
        """(P,) start values: weights U(±1/√fan_in), biases 0, scales (``…gain``) 1."""
        return self.flatten(
            {name: _initial(name, shape, generator) for name, shape in self.shapes.items()}
        )


def _initial(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if name.endswith("gain"):
        return torch.ones(shape)
    if not name.endswith("weight"):
        return torch.zeros(shape)
    bound: float = shape[-2] ** -0.5
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True)
class Adam:
    """Adam on flat vectors. Source: Kingma & Ba 2015, algorithm 1."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def step(
        self, value: Tensor, grad: Tensor, m: Tensor, v: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New (value, m, v), each (P,); ``t`` (,) counts from 1."""
        m = self.beta1 * m + (1.0 - self.beta1) * grad
        v = self.beta2 * v + (1.0 - self.beta2) * grad * grad
        m_hat = m / (1.0 - self.beta1**t)
        v_hat = v / (1.0 - self.beta2**t)
        return value - self.lr * m_hat / (v_hat.sqrt() + self.eps), m, v
