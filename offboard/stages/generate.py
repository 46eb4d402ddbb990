"""``wombet-offboard generate``: imagine offline data in the source model and filter it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offboard.filter import FilterConfig, keep_mask, kept_transitions
from offboard.generate import GenerateConfig, Trajectories, generate
from offboard.planner import PlanConfig, Planner
from offboard.progress import bar
from offboard.replay import Batch
from offboard.run_dir import existing_run, open_run, pack, unpack
from offboard.sac import SacConfig
from offboard.stages.source import Source, load_source
from offboard.task_setup import TaskSetup, load_task
from offboard.world_model import ModelConfig


@dataclass(frozen=True)
class OfflineConfig:
    """Planner, generation and filter."""

    robot: Path
    task: str
    source: Path
    seed: int = 0
    plan: PlanConfig = field(default_factory=PlanConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)


def run_generate(config: OfflineConfig, out: Path) -> dict[str, Any]:
    """Generate and filter; the kept transitions lie in ``kept.safetensors``.

    Raises:
        StoreError: ``out`` holds another run, or the source stage is not finished.
    """
    setup = load_task(config.robot, config.task)
    source = load_source(config.source, setup)
    run = open_run(out, config, setup.files_sha256)
    if run.result is not None:
        return run.result
    made = _generate(config, setup, source)
    keep = keep_mask(made.returns, made.uncertainty, config.filter)
    run.save("kept", pack("kept", kept_transitions(made, keep)))
    run.save("plane", _plane(made, keep))
    return run.finish(_summary(made, keep))


def load_kept(path: Path) -> Batch:
    """The kept transitions of a finished generation. Raises StoreError if there is none."""
    return unpack("kept", Batch, existing_run(path).load("kept"))


def _generate(config: OfflineConfig, setup: TaskSetup, source: Source) -> Trajectories:
    sac = setup.sac(SacConfig(**source.config["sac"]))
    model = setup.world_model(ModelConfig(**source.config["model"]))
    generator = torch.Generator().manual_seed(config.seed)
    planner = Planner(
        model,
        source.model,
        sac.actor_space.view(source.sac.actor),
        sac.critic_space.view(source.sac.critic),
        config.plan,
        setup.discount,
        generator,
    )
    index = torch.randint(
        source.starts.shape[0], (config.generate.trajectories,), generator=generator
    )
    with bar("generate", config.generate.steps) as progress:
        return generate(
            planner, model, source.model, source.starts[index], config.plan.horizon,
            config.generate, generator, lambda step: progress(step, ""),
        )  # fmt: skip


def _plane(made: Trajectories, keep: Tensor) -> dict[str, Tensor]:
    """What the report's scatter shows: one point per trajectory."""
    return {"returns": made.returns, "uncertainty": made.uncertainty, "kept": keep.to(torch.uint8)}


def _summary(made: Trajectories, keep: Tensor) -> dict[str, Any]:
    return {
        "trajectories": keep.shape[0],
        "kept": int(keep.sum()),
        "return_mean_all": float(made.returns.mean()),
        "return_mean_kept": float(made.returns[keep].mean()),
        "uncertainty_mean_all": float(made.uncertainty.mean()),
        "uncertainty_mean_kept": float(made.uncertainty[keep].mean()),
    }
