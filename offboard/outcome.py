"""What a world model predicts of a transition, and the observation that follows from it.

Columns of the observation that change, as differences, and the reward where it is learned, as the
last one. The action history is copied, not predicted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from offboard.columns import Columns
from offboard.model_state import ModelState
from offboard.replay import Batch


class Outcome:
    """D numbers for each transition.

    Args:
        layout: of the observation.
        learned: reward and termination are, for the task does not say them.
        device: of all data.

    Attributes:
        learned: as given.
        changes: how many of D are changes; they come first.
        size: D.
    """

    def __init__(self, layout: Columns, learned: bool, device: torch.device) -> None:
        self.learned = learned
        self._layout = layout
        history = {column for column, _, _ in layout.history}
        columns = [i for i in range(layout.size) if i not in history]
        self._changing = torch.tensor(columns).to(device)
        self._scatter = torch.eye(layout.size)[columns].to(device)  # (·, O)
        self._pairs, self._alone = (part.to(device) for part in _circles(layout))
        self.changes = len(columns)
        self.size = self.changes + learned

    def of(self, data: Batch) -> Tensor:
        """What is predicted, in its own units: (…, N, D)."""
        change = (data.following - data.obs).index_select(-1, self._changing)
        return torch.cat([change, data.reward[..., None]], -1) if self.learned else change

    def normalised(self, state: ModelState, data: Batch) -> Tensor:
        """The same in the units of ``state``, that the network is trained in."""
        return (self.of(data) - state.out_mean) / state.out_std

    def following(self, state: ModelState, obs: Tensor, applied: Tensor, change: Tensor) -> Tensor:
        """Change (B, ·) in observation units → observation (B, O) that could have been measured."""
        following = (obs + change @ self._scatter).clamp(state.low, state.high)
        radius = (following**2 @ self._pairs + self._alone).sqrt().clamp_min(1e-6)
        shifted: Tensor = self._layout.shift_history(obs, applied, following / radius)
        return shifted


def _circles(layout: Columns) -> tuple[Tensor, Tensor]:
    """Columns (cos, sin) of one joint: predictions are put back on the unit circle.

    Returns:
        (O, O), which sums both squares of a pair into both columns, and (O,), 1 for all others.
    """
    pairs, alone = torch.zeros(layout.size, layout.size), torch.ones(layout.size)
    for column, label in enumerate(layout.labels):
        kind, _, joint = label.partition(":")
        if kind == "cos" and f"sin:{joint}" in layout.labels:
            pair = [column, layout.labels.index(f"sin:{joint}")]
            pairs[pair[0], pair] = pairs[pair[1], pair] = 1.0
            alone[pair] = 0.0
    return pairs, alone
