"""The port between the runtime and whatever computes a graph.

An engine is built once per architecture, off the real-time path, and takes seconds if it must.
Staging loads one set of weights into a runner with buffers of its own and takes milliseconds.
Running is all that a tick does. Swapping policies is changing which runner the loop calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class Runner(Protocol):
    """One policy's weights, loaded; shares no buffer with any other runner.

    Attributes:
        obs: (1, O) input buffer; the caller fills it.
        noise: input buffer of the graph's shape; the caller fills it.
        action: (1, A) output buffer of the last :meth:`run`.
    """

    @property
    def obs(self) -> FloatArray: ...  # noqa: D102 - see Attributes
    @property
    def noise(self) -> FloatArray: ...  # noqa: D102
    @property
    def action(self) -> FloatArray: ...  # noqa: D102

    def run(self) -> None:
        """Compute ``action`` from ``obs`` and ``noise``."""

    def close(self) -> None:
        """Give the buffers back; it is never run again."""


class Engine(Protocol):
    """One graph, made executable."""

    def stage(self, weights: Mapping[str, FloatArray]) -> Runner:
        """A runner of ``weights``, one array per weight input of the graph.

        Raises:
            BundleError: the runtime refuses the weights, or has no room for them.
        """

    def close(self) -> None:
        """No more staging; runners that are still out work on."""


Build = Callable[[bytes], Engine]
"""Makes an engine of a graph that ``graph_check`` has passed; raises BundleError."""
