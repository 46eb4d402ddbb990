"""``wombet-offboard generate``: imagine offline data in the source model and filter it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offboard.filter import FilterConfig, Selection, kept_transitions, select
from offboard.generate import GenerateConfig, Trajectories, draw_starts, generate
from offboard.planner import PlanConfig, Planner
from offboard.progress import bar
from offboard.replay import Batch
from offboard.run_dir import existing_run, open_run, pack, unpack
from offboard.sac import SacConfig
from offboard.stages.source import UNCERTAINTY, Source, load_source
from offboard.task_setup import TaskSetup, load_task
from offboard.uncertainty import estimator
from offboard.world_model import ModelConfig


@dataclass(frozen=True)
class OfflineConfig:
    """Planner, generation and filter.

    ``uncertainty`` is what is penalised and filtered: in the source ``total`` orders true errors
    better than disagreement does, which is blind to what all members get wrong alike.
    """

    robot: Path
    task: str
    source: Path
    seed: int = 0
    uncertainty: str = UNCERTAINTY
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
    made, limit = _generate(config, setup, source)
    chosen = select(made, limit, config.filter)
    run.save("kept", pack("kept", kept_transitions(made, chosen.steps)))
    run.save("plane", _plane(chosen))
    return run.finish(_summary(made, chosen))


def load_kept(path: Path) -> Batch:
    """The kept transitions of a finished generation. Raises StoreError if there is none."""
    return unpack("kept", Batch, existing_run(path).load("kept"))


def _generate(
    config: OfflineConfig, setup: TaskSetup, source: Source
) -> tuple[Trajectories, float]:
    """The trajectories, and the uncertainty that no step of them should pass."""
    sac = setup.sac(SacConfig(**source.config["sac"]))
    sizes = {**source.config["model"], "uncertainty": config.uncertainty}
    model = setup.world_model(ModelConfig(**sizes))
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
    starts = draw_starts(source.starts, source.replay.obs, config.generate, generator)
    with bar("generate", config.generate.steps) as progress:
        made = generate(
            planner, model, source.model, starts, config.plan.horizon,
            config.generate, generator, lambda step: progress(step, ""),
        )  # fmt: skip
    estimate = estimator(config.uncertainty, model)
    real = estimate(source.model, source.replay.obs, source.replay.applied)
    return made, float(torch.quantile(real, config.filter.step_quantile))


def _plane(chosen: Selection) -> dict[str, Tensor]:
    """What the report's scatter shows: one point per trajectory."""
    return {
        "returns": chosen.returns,
        "uncertainty": chosen.uncertainty,
        "kept": chosen.keep.to(torch.uint8),
    }


def _summary(made: Trajectories, chosen: Selection) -> dict[str, Any]:
    keep = chosen.keep
    return {
        "trajectories": keep.shape[0],
        "kept": int(keep.sum()),
        "return_mean_all": float(chosen.returns.mean()),
        "return_mean_kept": float(chosen.returns[keep].mean()),
        "uncertainty_mean_all": float(chosen.uncertainty.mean()),
        "uncertainty_mean_kept": float(chosen.uncertainty[keep].mean()),
        "steps_kept": int(chosen.steps.sum()),
        "steps_live": int(made.live.sum()),
        "coverage": chosen.coverage,
    }
