"""What a learner knows about the target."""

from __future__ import annotations

from dataclasses import dataclass

from offboard.mismatch import Mismatch
from offboard.switch import Course


@dataclass(frozen=True)
class Evidence:
    """What the learner knows about the target so far; one row of its log.

    ``relabelled`` is the effective number of prior transitions in use (Kish 1965, (Σw)² / Σw²).
    ``pessimism`` multiplies a planner's penalty. ``nmse`` is None until the adapted model was
    judged on target data, ``mismatch``, ``course`` and ``way``, which of the ways of adapting is
    believed, until the first adaptation.
    """

    online: int
    nmse: float | None
    offline_fraction: float
    relabelled: int
    updates: int
    pessimism: float = 1.0
    mismatch: Mismatch | None = None
    course: Course | None = None
    way: str | None = None
