"""What a policy is expected to earn: imagined from where the robot's last episodes began."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from offboard.architecture import Architecture
from offboard.finetune import Learner
from offboard.snapshots import imagined_return
from offboard.world_model import WorldModel
from protocol.modes import Mode
from protocol.step_record import Rows


class ExpectedReturn:
    """Judges policies by the learner's model as it is when asked.

    Args:
        learner: whose model it is.
        model: the ensemble's functions.
        architecture: of the policies.
        steps: of an episode that nothing ends early.
    """

    def __init__(
        self, learner: Learner, model: WorldModel, architecture: Architecture, steps: int
    ) -> None:
        self._learner = learner
        self._model = model
        self._architecture = architecture
        self._steps = steps
        self._starts: list[Tensor] = []

    def push(self, rows: Rows) -> None:
        """Note where episodes begin in ``rows``."""
        starts = rows[(rows["mode"] == Mode.RUN) & (rows["step"] == 0)]["obs"]
        self._starts.extend(torch.from_numpy(np.array(starts, dtype=np.float32)))

    def of(self, policy: Tensor) -> float:
        """Of ``policy`` (P,), from the last start states; NaN if gaps swallowed all of them."""
        if not self._starts:
            return math.nan
        starts = torch.stack(self._starts[-8:]).to(self._model.device)
        quiet = starts.new_zeros(starts.shape[0], self._model.action_size)
        named = self._architecture.space.view(policy.to(self._model.device))
        return imagined_return(
            self._model,
            self._learner.model_state,
            lambda obs: self._architecture.act(named, obs, quiet),
            starts,
            self._steps,
        )
