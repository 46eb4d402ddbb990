"""Prior transitions, as the adapted model would have them happen in the target."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.replay import Batch
from offboard.sampling import beliefs
from offboard.world_model import WorldModel


class Prior:
    """N transitions from the source.

    Attributes:
        recorded: as they happened.
        relabelled: as the model has it; as they happened until then.
    """

    def __init__(self, recorded: Batch) -> None:
        self.recorded = recorded
        self.relabelled = recorded
        self._doubt, self._moved = recorded.reward.new_zeros(2, recorded.size)

    @torch.no_grad()
    def relabel(self, model: WorldModel, state: ModelState) -> None:
        """The prior as the adapted model would have it happen, and how much of that is a guess."""
        self.relabelled, self._doubt = model.relabel(state, self.recorded)
        self._moved = model.squared_error(state, self.recorded)

    def beliefs(self, nmse: float | None, source_error: float) -> Tensor:
        """(N,) weights of the prior; all are 1 before the first adaptation."""
        error = math.inf if nmse is None else nmse
        return beliefs(self._doubt, self._moved, error, source_error)
