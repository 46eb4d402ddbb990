"""Exploration noise that one number brings back.

Every draw has its own stretch of a counter-based generator, so the flight recorder keeps the
number of the draw and not the values, which a planner needs by the hundred.
Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox 4×64).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Noise:
    """Standard normal numbers.

    Attributes:
        number: of the last :meth:`draw`; 0 before the first.
    """

    def __init__(self, key: int) -> None:
        """``key`` names the sequence, in [0, 2**64); another life of the process has another."""
        self._philox = np.random.Philox(key=key)
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state
        self._counter: NDArray[np.uint64] = self._state["state"]["counter"]
        self.number = 0

    def draw(self, out: NDArray[np.float32]) -> None:
        """Fill ``out`` with the next draw."""
        self.number += 1
        self.recall(self.number, out)

    def recall(self, number: int, out: NDArray[np.float32]) -> None:
        """Fill ``out`` as draw ``number`` did, given the same key and size."""
        self._counter[:] = 0
        self._counter[1] = number  # the lowest word counts within a draw
        self._philox.state = self._state
        self._generator.standard_normal(dtype=np.float32, out=out)
