"""Judges one step at a time, every tick: with plain floats where they do, with arrays elsewhere.

For single numbers a call of numpy takes as long as the arithmetic of a whole reward. A task that
asks for more than :class:`FloatRow` has is judged with arrays throughout; so is a step in which
floats raise an error, as at a division by zero, and arrays go on with what is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocol.float_row import FloatRow
from protocol.tasks import Judge, Outcome


class StepJudge:
    """A task's judge for one robot with O observation columns and A actuated joints.

    Attributes:
        plain: whether floats will do for this task.
    """

    def __init__(self, judge: Judge, O: int, A: int) -> None:
        self._judge = judge
        obs, applied = [0.0] * O, [0.0] * A
        self._with_arrays(obs, applied, obs)  # its first call imports modules
        self.plain = True
        try:
            self(obs, applied, obs)
        except (TypeError, AttributeError):
            self.plain = False

    def __call__(
        self, obs: Sequence[float], applied: Sequence[float], following: Sequence[float]
    ) -> Outcome:
        """``obs`` (O,), ``applied`` (A,) in [-1, 1] and ``following`` (O,) to an outcome."""
        if self.plain:
            try:
                return self._with_floats(obs, applied, following)
            except (ArithmeticError, ValueError):
                pass
        return self._with_arrays(obs, applied, following)

    def _with_floats(self, *step: Sequence[float]) -> Outcome:
        return self._judge(*map(FloatRow, step))

    def _with_arrays(self, *step: Sequence[float]) -> Outcome:
        with np.errstate(all="ignore"):
            return self._judge(*(np.array(each, dtype=np.float32) for each in step))
