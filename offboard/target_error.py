"""How wrong the adapted model is on target transitions that it has not learned."""

from __future__ import annotations

import math
from typing import NamedTuple

from offboard.mismatch import pessimism
from offboard.model_state import ModelState
from offboard.replay import Batch
from offboard.world_model import WorldModel


class TargetError(NamedTuple):
    """Running means; None until the adapted model was judged.

    Attributes:
        measured: normalised squared one-step error.
        stated: by the model's uncertainty, on the same transitions.
    """

    measured: float | None = None
    stated: float | None = None

    @property
    def pessimism(self) -> float:
        """Factor of the penalty for uncertainty; 1 until the model was judged in the target."""
        if self.measured is None or self.stated is None:
            return 1.0
        return pessimism(self.measured, self.stated)

    def followed(self, model: WorldModel, state: ModelState, transitions: Batch) -> TargetError:
        """With ``transitions`` that the model in ``state`` has not learned, at least two."""
        step = model.expect(state, transitions.obs, transitions.applied)
        fresh = model.nmse(state, transitions)
        return TargetError(
            _followed(self.measured, fresh),
            _followed(self.stated, float((step.uncertainty**2).mean())),
        )


def _followed(known: float | None, fresh: float) -> float:
    """A running mean; what is not a number is not carried on."""
    return 0.8 * (fresh if known is None or math.isnan(known) else known) + 0.2 * fresh
