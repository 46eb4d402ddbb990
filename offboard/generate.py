"""Offline data by penalised planning: acted out inside the source model, or in a simulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.planner import Planner
from offboard.replay import Batch
from offboard.world_model import Step, WorldModel


@dataclass(frozen=True)
class GenerateConfig:
    """How many trajectories, from where, and how bold.

    Attributes:
        trajectories: M.
        steps: T.
        explore_max: each trajectory gets its own exploration in [0, ``explore_max``].
        replay_starts: share that begins anywhere in the replay instead of at a reset.
    """

    trajectories: int = 64
    steps: int = 250
    explore_max: float = 0.5
    replay_starts: float = 0.5


class Outcome(NamedTuple):
    """What M actions came to: the actions as applied (M, A), and the step that followed."""

    applied: Tensor
    step: Step


World = Callable[[Tensor, Tensor], Outcome]
"""(observations (M, O), actions (M, A)) → what they come to, side by side."""


class Trajectories(NamedTuple):
    """M trajectories of T steps: tensors (M, T, …) and the steps' uncertainty (M, T)."""

    steps: Batch
    step_uncertainty: Tensor

    @property
    def returns(self) -> Tensor:
        """(M,) undiscounted return."""
        return self.steps.reward.sum(1)

    @property
    def live(self) -> Tensor:
        """(M, T) bool: the steps up to and including a termination."""
        ended = self.steps.terminated.cumsum(1) - self.steps.terminated  # > 0 after the terminal
        return ended == 0.0

    @property
    def uncertainty(self) -> Tensor:
        """(M,) mean uncertainty of the live steps."""
        live = self.live
        return (live * self.step_uncertainty).sum(1) / live.sum(1)


def draw_starts(
    resets: Tensor, replay: Tensor, config: GenerateConfig, generator: torch.Generator
) -> Tensor:
    """Observations (M, O) to begin at: from ``resets`` (R, O), then from ``replay`` (N, O)."""
    M = config.trajectories
    anywhere = round(config.replay_starts * M)
    reset = torch.randint(resets.shape[0], (M - anywhere,), generator=generator)
    replayed = torch.randint(replay.shape[0], (anywhere,), generator=generator)
    return torch.cat([resets[reset.to(resets.device)], replay[replayed.to(replay.device)]])


def generate(
    planner: Planner,
    model: WorldModel,
    state: ModelState,
    starts: Tensor,
    horizon: int,
    config: GenerateConfig,
    generator: torch.Generator,
    on_step: Callable[[int], None] = lambda _: None,
) -> Trajectories:
    """Imagine trajectories from ``starts`` (M, O), replanning at every step."""

    def imagined(obs: Tensor, action: Tensor) -> Outcome:
        return Outcome(action, model.imagine(state, obs, action, generator))

    return act_out(
        planner, imagined, starts, model.action_size, horizon, config, generator, on_step
    )


@torch.no_grad()
def act_out(
    planner: Planner,
    world: World,
    starts: Tensor,
    A: int,
    horizon: int,
    config: GenerateConfig,
    generator: torch.Generator,
    on_step: Callable[[int], None] = lambda _: None,
) -> Trajectories:
    """Plan and step in ``world`` from ``starts`` (M, O), replanning at every step.

    A trajectory that terminates stays where it ended with reward 0, so that shapes stay (M, T, …).
    """
    M, device = starts.shape[0], starts.device
    obs, plan = starts, torch.zeros(M, horizon, A, device=device)
    alive = torch.ones(M, device=device)
    boldness = torch.rand(M, 1, generator=generator).to(device) * config.explore_max
    steps, uncertainty = [], []
    for t in range(config.steps):
        action, plan = planner.plan(obs, plan)
        noise = torch.randn(M, A, generator=generator).to(device)
        applied, step = world(obs, (action + boldness * noise).clamp(-1.0, 1.0))
        steps.append(Batch(obs, applied, alive * step.reward, step.following, step.terminated))
        uncertainty.append(step.uncertainty)
        alive = alive * (1.0 - step.terminated)
        obs = torch.where(alive[:, None] > 0.0, step.following, obs)
        plan = torch.cat([plan[:, 1:], torch.zeros(M, 1, A, device=device)], 1)
        on_step(t + 1)
    stacked = Batch(*(torch.stack(column, 1) for column in zip(*steps, strict=True)))
    return Trajectories(stacked, torch.stack(uncertainty, 1))


def together(parts: Sequence[Trajectories]) -> Trajectories:
    """All trajectories of ``parts``, which are equally long."""
    columns = zip(*(part.steps for part in parts), strict=True)
    return Trajectories(
        Batch(*(torch.cat(column) for column in columns)),
        torch.cat([part.step_uncertainty for part in parts]),
    )
