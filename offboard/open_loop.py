"""Open-loop prediction over a horizon, against what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.replay import Batch
from offboard.uncertainty import Estimator
from offboard.world_model import WorldModel


class Windows(NamedTuple):
    """Stretches of H steps from E episodes, W of each: (E, W, H, …); ``live`` until the end."""

    steps: Batch
    live: Tensor


class Returns(NamedTuple):
    """Open-loop returns against the truth, each (E, W)."""

    predicted: Tensor
    uncertainty: Tensor
    true: Tensor

    @property
    def scores(self) -> Tensor:
        """(E, W) the least λ that makes the bound hold."""
        return (self.predicted - self.true) / self.uncertainty.clamp_min(1e-9)


def windows(
    episodes: Sequence[Batch], horizon: int, count: int, generator: torch.Generator
) -> Windows:
    """``count`` random windows of each episode, of which there is at least one.

    An episode cut short by time is left out if it is shorter than a window; one that terminated is
    not, its windows may reach beyond the end.
    """
    usable = [
        episode
        for episode in episodes
        if episode.size >= horizon or (episode.size and episode.terminated[-1])
    ]
    device = episodes[0].obs.device
    if not usable:
        none = (column.new_zeros(0, count, horizon, *column.shape[1:]) for column in episodes[0])
        return Windows(
            Batch(*none), torch.zeros(0, count, horizon, dtype=torch.bool, device=device)
        )
    steps, live = [], []
    for episode in usable:
        ended = bool(episode.terminated[-1])
        starts = episode.size if ended else episode.size - horizon + 1
        first = torch.randint(starts, (count,), generator=generator)
        index = (first[:, None] + torch.arange(horizon)).to(device)  # (W, H)
        live.append(index < episode.size)
        steps.append(episode.take(index.clamp_max(episode.size - 1)))
    stacked = Batch(*(torch.stack(column) for column in zip(*steps, strict=True)))
    return Windows(stacked, torch.stack(live))


@torch.no_grad()
def open_loop(
    model: WorldModel, state: ModelState, estimate: Estimator, drawn: Windows, discount: float
) -> Returns:
    """Replay each window's actions in the model from the window's first observation."""
    E, W, H = drawn.live.shape
    obs = drawn.steps.obs[:, :, 0].flatten(0, 1)  # (B, O) with B = E W
    applied, reward = drawn.steps.applied.flatten(0, 1), drawn.steps.reward.flatten(0, 1)
    live = drawn.live.flatten(0, 1)
    predicted, doubt, true = obs.new_zeros(3, E * W)
    alive = obs.new_ones(E * W)
    for t in range(H):
        step = model.expect(state, obs, applied[:, t])
        weight = discount**t * alive
        predicted = predicted + weight * step.reward
        doubt = doubt + weight * estimate(state, obs, applied[:, t])
        true = true + discount**t * live[:, t] * reward[:, t]
        alive = alive * (1.0 - step.terminated)
        obs = step.following
    return Returns(*(column.view(E, W) for column in (predicted, doubt, true)))
