"""What a task says about a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What a step was worth: both (...), reward in [0, 1], terminated as 0.0 or 1.0."""

    reward: Any
    terminated: Any


Judge = Callable[[Any, Any, Any], Outcome]
"""``obs`` (..., O), ``applied`` (..., A) in [-1, 1] and ``following`` (..., O) to an outcome."""
