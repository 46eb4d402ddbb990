"""``wombet-offboard source-from-data``: a source run out of imported logs, without a simulator.

The world model learns from the log, and the policy inside the model: short rollouts from logged
states, penalised by what the model does not know (MOPO). ``generate`` and ``serve`` take the run
like one of ``source``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offboard.baselines.mopo import MopoConfig, imagine_policy
from offboard.model_state import ModelConfig, ModelState
from offboard.networks import act
from offboard.progress import bar
from offboard.replay import Batch
from offboard.run_dir import RunDir, open_run, pack
from offboard.sac import Sac, SacConfig, SacState
from offboard.snapshots import imagined_return
from offboard.stages.exchange import load_imported
from offboard.stages.source import UNCERTAINTY
from offboard.statistics import spearman
from offboard.task_setup import TaskSetup, load_task
from offboard.uncertainty import estimator
from offboard.world_model import WorldModel
from protocol.errors import StoreError

HELD_OUT = 0.1
MIN_STEPS = 500
"""Fewer transitions than this do not make a model worth planning in."""


@dataclass(frozen=True)
class DataSourceConfig:
    """Recipe.

    ``policy`` begins with fresh networks: a log has no actor.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        task: of the robot file.
        data: --out of ``data import``.
        seed: of everything random; the same seed gives the same result.
        model_steps: updates of the world model.
    """

    robot: Path
    task: str
    data: Path
    seed: int = 0
    model_steps: int = 3_000
    sac: SacConfig = field(default_factory=SacConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    policy: MopoConfig = field(default_factory=lambda: MopoConfig(updates=10_000, warm_start=False))


def run_source_from_data(config: DataSourceConfig, out: Path) -> dict[str, Any]:
    """Fit the model, judge it on the end of the log, learn a policy in it.

    Raises:
        StoreError: ``out`` holds another run, nothing was imported, or it is too little.
        ConfigError: robot or task are wrong.
    """
    setup = load_task(config.robot, config.task)
    imported = load_imported(config.data, setup)
    if imported.replay.size < MIN_STEPS:
        raise StoreError(
            f"{config.data} has {imported.replay.size} steps; import at least {MIN_STEPS}"
        )
    run = open_run(out, config, setup.files_sha256)
    if run.result is not None:
        return run.result
    began = time.monotonic()
    known, held = _split(imported.replay)
    model = setup.world_model(config.model)
    state = _fit(config, model, known, run)
    quality = _quality(model, state, held)
    sac = setup.sac(config.sac)
    policy = _learn(config, sac, model, state, known)
    run.save(
        "source",
        {
            **pack("sac", policy),
            **pack("model", state),
            **pack("replay", imported.replay),
            "starts": imported.starts,
        },
    )
    return run.finish(
        {
            "env_steps": imported.replay.size,
            "wall_s": round(time.monotonic() - began, 1),
            "imagined_return": _imagine(setup, sac, policy, model, state, imported.starts),
            **quality,
        }
    )


def _split(replay: Batch) -> tuple[Batch, Batch]:
    """The log but for its end, and its end: neighbouring steps are too alike to judge by."""
    first_held = replay.size - int(HELD_OUT * replay.size)
    index = torch.arange(replay.size)
    return replay.take(index[:first_held]), replay.take(index[first_held:])


def _fit(config: DataSourceConfig, model: WorldModel, data: Batch, run: RunDir) -> ModelState:
    generator = torch.Generator().manual_seed(config.seed)
    with bar("world model", config.model_steps) as progress:
        state = model.fit(
            model.initial(data, config.seed),
            data,
            config.model_steps,
            generator,
            lambda step: progress(step, f"{config.model.members} members"),
        )
    run.log(stage="model", steps=int(state.step), nmse_train=model.nmse(state, data))
    return state


def _quality(model: WorldModel, state: ModelState, held: Batch) -> dict[str, float]:
    error = model.squared_error(state, held)
    doubt = estimator(UNCERTAINTY, model)(state, held.obs, held.applied)
    return {
        "model_nmse": model.nmse(state, held),
        "uncertainty_error_spearman": spearman(doubt, error),
    }


def _learn(
    config: DataSourceConfig, sac: Sac, model: WorldModel, state: ModelState, data: Batch
) -> SacState:
    with bar("policy in the model", config.policy.updates) as progress:
        policy, _ = imagine_policy(
            sac, sac.initial(config.seed), model, state, data, config.policy, config.seed,
            lambda update: progress(update, ""),
        )  # fmt: skip
    return policy


def _imagine(
    setup: TaskSetup,
    sac: Sac,
    policy: SacState,
    model: WorldModel,
    state: ModelState,
    starts: Tensor,
) -> float:
    """What the model expects of the policy over an episode."""
    named = sac.actor_space.view(policy.actor)
    quiet = torch.zeros(starts.shape[0], sac.action_size)
    return imagined_return(
        model, state, lambda obs: act(named, obs, quiet), starts, setup.episode_answers
    )
