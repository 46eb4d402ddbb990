"""Work in parts, each with a random stream of its own.

How many parts there are decides an outcome; where each is made does not.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from protocol.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """Of a whole, the ``count`` things from ``first`` on."""

    index: int
    first: int
    count: int


def parts_of(total: int, into: int) -> list[Part]:
    """``total`` things in ``into`` parts, as even as can be; none is empty.

    Raises:
        ConfigError: less than one part was asked for.
    """
    if into < 1:
        raise ConfigError(f"--parts {into} makes no sense; give 1 or more")
    edges = [round(total * i / into) for i in range(into + 1)]
    return [
        Part(index, first, after - first)
        for index, (first, after) in enumerate(itertools.pairwise(edges))
        if after > first
    ]


def seed_of(*names: int) -> int:
    """A seed for what has these numbers; others have another, without pattern."""
    return int(np.random.SeedSequence(names).generate_state(1, np.uint64)[0] >> 1)


def stream(*names: int) -> torch.Generator:
    """The random stream of what has these numbers."""
    return torch.Generator().manual_seed(seed_of(*names))
