"""``wombet-offboard source``: learn the source task, then its world model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from offboard.compiled import can_compile
from offboard.device import check_on_cpu, moved
from offboard.distributed import crew, follow, leading
from offboard.ensemble import fit_in_groups
from offboard.event_files import mirrored
from offboard.model_state import ModelConfig, ModelState
from offboard.progress import bar
from offboard.replay import Batch, Replay, join
from offboard.rollout import ENV_ID, Env, actor_policy, make_env, mean_return, step_env
from offboard.run_dir import RunDir, entry, existing_run, open_run, pack, unpack
from offboard.sac import Sac, SacConfig, SacState
from offboard.statistics import spearman
from offboard.task_setup import TaskSetup, load_task
from offboard.train_online import OnlineConfig, TrainState, fresh_start, train_online
from offboard.uncertainty import estimator
from offboard.workers import workers
from offboard.world_model import WorldModel
from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import load_robot_spec

JUDGE_EPISODES = 20
JUDGE_SEED = 50_000
UNCERTAINTY = "total"
"""What generation penalises and filters by too; the best of those tried (docs/results)."""
NOT_OUTCOME = frozenset({"processes", "ray", "distributed", "device", "tensorboard"})


@dataclass(frozen=True)
class SourceConfig:
    """Recipe of the source stage; LEARNING.md § 5.2.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        task: of the robot file.
        seed: of everything random; the same seed gives the same result.
        body: which plant.bodies table of the robot file to learn on.
        env_id: the simulator, MODULE:NAME as gymnasium registers it.
        randomise: every episode has a body of its own, drawn from the robot file's
            plant.randomise around that one; the policy is judged on that one.
        model_steps: updates of the world model.
        holdout_steps: fresh steps on which model and uncertainty are measured.
        groups: fit the ensemble's members in so many groups (``offboard/ensemble.py``); by default
            as one.
        processes: to fit groups in; 0 for this one.
        ray: cluster to work on: auto, or its address; by default none.
        distributed: share every update of the policy out among the workers that torchrun started.
        device: to learn on, as PyTorch calls it: cpu, or cuda. Ours are small networks, for which
            the CPU is faster.
        tensorboard: write TensorBoard event files too.
    """

    robot: Path
    task: str
    seed: int = 0
    body: str = "nominal"
    env_id: str = ENV_ID
    randomise: bool = False
    model_steps: int = 3_000
    holdout_steps: int = 1_500
    sac: SacConfig = field(default_factory=SacConfig)
    online: OnlineConfig = field(default_factory=OnlineConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    groups: int | None = None
    processes: int = 0
    ray: str | None = None
    distributed: bool = False
    device: str = "cpu"
    tensorboard: bool = False


class Source(NamedTuple):
    """What later stages take from a finished source run."""

    sac: SacState
    model: ModelState
    replay: Batch
    starts: Tensor
    result: dict[str, Any]
    config: dict[str, Any]


def run_source(config: SourceConfig, out: Path) -> dict[str, Any]:
    """Train, fit, measure; resume from the last checkpoint if there is one.

    Returns:
        The result; nothing in a worker that only follows another.

    Raises:
        StoreError: ``out`` holds a run with another configuration.
        ConfigError: the robot, task or body is wrong, there is nothing for workers to do, or there
            is no such device.
    """
    _refuse_unseen(config)
    if config.groups is None and (config.processes or config.ray):
        raise ConfigError("there is nothing to spread over workers; say --groups N")
    if config.groups is not None:
        check_on_cpu(config.device, "--groups")
    if not config.distributed:
        setup = load_task(config.robot, config.task, config.device)
        return _run(config, setup, setup.sac(config.sac), out)
    with crew(config.device) as team:
        setup = load_task(config.robot, config.task, str(team.device))
        sac = setup.sac(config.sac, team.mean)
        if team.rank:
            follow(team, sac, setup.layout.size)
            return {}
        with leading(team, sac, setup.layout.size) as led:
            return _run(config, setup, led, out)


def _run(config: SourceConfig, setup: TaskSetup, sac: Sac, out: Path) -> dict[str, Any]:
    run = open_run(out, config, setup.files_sha256, NOT_OUTCOME)
    if run.result is not None:
        return run.result
    if not can_compile():
        Console(stderr=True).print("no C++ compiler or Python headers: learning runs uncompiled")
    with mirrored(run, config.tensorboard):
        return run.finish(_learn(config, setup, sac, run))


def _learn(config: SourceConfig, setup: TaskSetup, sac: Sac, run: RunDir) -> dict[str, Any]:
    trained = _train_policy(config, setup, sac, run)
    began = time.monotonic()
    model, state = _fit_model(config, setup, trained.replay.all(), run)
    env = _env(config)
    expert = mean_return(
        _judge_env(config),
        actor_policy(sac.actor_space, trained.best.actor),
        JUDGE_EPISODES,
        JUDGE_SEED,
    )
    quality = _model_quality(config, env, sac, trained.best, model, state, run)
    _save(run, trained, state, env)
    return {
        "env_steps": trained.step,
        "wall_s": round(trained.wall_s + time.monotonic() - began, 1),
        "expert_return": expert,
        **quality,
    }


def load_source(path: Path, setup: TaskSetup) -> Source:
    """A finished source run, on the device of ``setup``.

    Raises:
        StoreError: it is missing, unfinished, or of a robot with another observation or action.
    """
    run = existing_run(path)
    tensors = run.load("source")
    widths = entry(tensors, "replay.obs").shape[1], entry(tensors, "replay.applied").shape[1]
    if widths != (setup.layout.size, setup.layout.action_size):
        raise StoreError(
            f"{path} was made with {widths[0]} observations and {widths[1]} actions, "
            f"{setup.spec.name} has {setup.layout.size} and {setup.layout.action_size}"
        )
    return Source(
        moved(unpack("sac", SacState, tensors), setup.device),
        moved(unpack("model", ModelState, tensors), setup.device),
        moved(unpack("replay", Batch, tensors), setup.device),
        entry(tensors, "starts").to(setup.device),
        run.result or {},
        run.config,
    )


def _refuse_unseen(config: SourceConfig) -> None:
    """A body of the test set is for measuring what was learned on others."""
    unseen = load_robot_spec(config.robot).plant.unseen
    if config.body in unseen:
        raise ConfigError(
            f"{config.robot}: {config.body!r} is of the test set (plant.unseen: "
            f"{', '.join(unseen)}), which no training may see; choose another --body"
        )


def _env(config: SourceConfig) -> Env:
    """Where experience is made."""
    return make_env(config.robot, config.task, config.body, config.env_id, config.randomise)


def _judge_env(config: SourceConfig) -> Env:
    """Where the policy is judged: always the same body."""
    return make_env(config.robot, config.task, config.body, config.env_id)


def _train_policy(config: SourceConfig, setup: TaskSetup, sac: Sac, run: RunDir) -> TrainState:
    env, judge_env = _env(config), _judge_env(config)
    state = _resume(config, setup, sac, run)
    with bar("source policy", config.online.env_steps) as progress:

        def on_step(train: TrainState) -> None:
            progress(train.step, f"return {train.latest:.0f}, best {train.best_return:.0f}")
            if train.step % config.online.evaluate_every == 0:
                run.log(stage="source", **train.row())
                run.save("training", train.tensors())

        return train_online(env, judge_env, sac, state, config.online, config.seed, on_step)


def _resume(config: SourceConfig, setup: TaskSetup, sac: Sac, run: RunDir) -> TrainState:
    replay = Replay(
        setup.layout.size, setup.layout.action_size, config.online.env_steps, setup.device
    )
    if run.has("training"):
        return TrainState.from_tensors(run.load("training"), replay)
    return fresh_start(sac.initial(config.seed), replay, config.seed)


def _fit_model(
    config: SourceConfig, setup: TaskSetup, data: Batch, run: RunDir
) -> tuple[WorldModel, ModelState]:
    model = setup.world_model(config.model)
    state = _fitted(config, model, data) if config.groups is None else _fitted_apart(config, data)
    run.log(stage="model", steps=int(state.step), nmse_train=model.nmse(state, data))
    return model, state


def _fitted(config: SourceConfig, model: WorldModel, data: Batch) -> ModelState:
    """All members as one."""
    generator = torch.Generator().manual_seed(config.seed)
    with bar("world model", config.model_steps) as progress:
        return model.fit(
            model.initial(data, config.seed),
            data,
            config.model_steps,
            generator,
            lambda step: progress(step, f"{config.model.members} members"),
        )


def _fitted_apart(config: SourceConfig, data: Batch) -> ModelState:
    """The members in groups, wherever there is room."""
    with workers(config.processes, config.ray) as pool:
        return fit_in_groups(
            pool, config.robot, config.task, config.model, data, config.model_steps, config.seed,
            config.groups or 1,
        )  # fmt: skip


def _model_quality(
    config: SourceConfig,
    env: Env,
    sac: Sac,
    best: SacState,
    model: WorldModel,
    state: ModelState,
    run: RunDir,
) -> dict[str, Any]:
    """Error and its rank correlation with uncertainty on fresh, partly random, source steps."""
    held = moved(_holdout(env, sac, best, config.holdout_steps, config.seed), model.device)
    error = model.squared_error(state, held)
    doubt = estimator(UNCERTAINTY, model)(state, held.obs, held.applied)
    run.save("uncertainty", {"error": error, "uncertainty": doubt})
    return {
        "model_nmse": model.nmse(state, held),
        "uncertainty_error_spearman": spearman(doubt, error),
    }


def _holdout(env: Env, sac: Sac, best: SacState, steps: int, seed: int) -> Batch:
    """Transitions never trained on; each episode mixes in its own share of random actions."""
    rng = np.random.default_rng(seed + 1)
    policy = actor_policy(sac.actor_space, best.actor, torch.Generator().manual_seed(seed + 1))
    obs, _ = env.reset(seed=seed + 1)
    share, parts = 0.0, []
    for _ in range(steps):
        random = rng.uniform(-1.0, 1.0, sac.action_size).astype(np.float32)
        action = random if rng.uniform() < share else policy(obs)
        transition, obs, over = step_env(env, obs, action)
        parts.append(transition)
        if over:
            obs, _ = env.reset()
            share = float(rng.uniform())
    return join(parts)


def _save(run: RunDir, trained: TrainState, state: ModelState, env: Env) -> None:
    starts = [torch.from_numpy(env.reset(seed=JUDGE_SEED + i)[0]) for i in range(64)]
    run.save(
        "source",
        {
            **pack("sac", trained.best),
            **pack("model", state),
            **pack("replay", trained.replay.all()),
            "starts": torch.stack(starts),
        },
    )
