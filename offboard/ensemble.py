"""An ensemble fitted in groups of members, each wherever there is room.

A group keeps its own best weights and stops by itself, where members fitted as one stop together;
so the number of groups decides the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from offboard.model_state import ModelConfig, ModelState
from offboard.parameters import Space
from offboard.parts import parts_of, seed_of, stream
from offboard.replay import Batch
from offboard.task_setup import load_task
from offboard.workers import Pool, gathered

Merge = Callable[[Tensor, int], Tensor]
"""Reduces the axis of groups."""


def fit_in_groups(
    pool: Pool,
    robot: Path,
    task: str,
    config: ModelConfig,
    data: Batch,
    steps: int,
    seed: int,
    groups: int,
) -> ModelState:
    """The ensemble of ``config`` fitted to ``data``, its members in ``groups``.

    The mean of every member is exactly its group's. Its variance may differ where a group had
    bounded it closer than another.

    Raises:
        ConfigError: robot or task are wrong, or ``groups`` is less than one.
    """
    setup, parts = load_task(robot, task), parts_of(config.members, groups)
    configs = [replace(config, members=part.count) for part in parts]
    pieces = [
        (robot.resolve(), task, own, data, steps, seed, part.index)
        for own, part in zip(configs, parts, strict=True)
    ]
    fitted = gathered(pool, fit_group, pieces)
    spaces = [setup.world_model(own).space for own in configs]
    return joined(setup.world_model(config).space, spaces, fitted)


def fit_group(
    robot: Path, task: str, config: ModelConfig, data: Batch, steps: int, seed: int, index: int
) -> ModelState:
    """One group, from nothing but its arguments and the robot's files."""
    model = load_task(robot, task).world_model(config)
    fresh = model.initial(data, seed_of(seed, index))
    return model.fit(fresh, data, steps, stream(seed, index))


def joined(space: Space, spaces: Sequence[Space], groups: Sequence[ModelState]) -> ModelState:
    """One ensemble, laid out by ``space``, of all members of ``groups``, laid out by ``spaces``.

    Bounds of the variance, which members share, are the widest of any group.
    """

    def join(field: str, highest: Merge, lowest: Merge) -> Tensor:
        vectors = (getattr(group, field) for group in groups)
        views = [own.view(vector) for own, vector in zip(spaces, vectors, strict=True)]
        shared = {"model.max_log_var": highest, "model.min_log_var": lowest}
        return space.flatten(
            {
                name: shared[name](torch.stack([view[name] for view in views]), 0)
                if name in shared
                else torch.cat([view[name] for view in views])
                for name in space.shapes
            }
        )

    return groups[0]._replace(
        weights=join("weights", torch.amax, torch.amin),
        m=join("m", torch.mean, torch.mean),
        v=join("v", torch.mean, torch.mean),
        step=torch.stack([group.step for group in groups]).amax(),
    )
