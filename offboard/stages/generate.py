"""``wombet-offboard generate``: plan in the source model, act there or in a simulator, filter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offboard.calibration import Bound
from offboard.device import check_on_cpu
from offboard.filter import FilterConfig, Selection, kept_transitions, select
from offboard.generate import (
    GenerateConfig,
    Trajectories,
    act_out,
    draw_starts,
    generate,
    together,
)
from offboard.model_state import ModelConfig
from offboard.parts import Part, parts_of, stream
from offboard.penalty import PenaltyConfig, calibrate
from offboard.planner import PlanConfig, Planner
from offboard.progress import bar
from offboard.replay import Batch
from offboard.rollout import Env, actor_policy, make_env
from offboard.run_dir import existing_run, open_run, pack, unpack
from offboard.sac import Sac, SacConfig
from offboard.simulators import Simulators
from offboard.stages.source import UNCERTAINTY, Source, load_source
from offboard.task_setup import TaskSetup, load_task
from offboard.uncertainty import estimator
from offboard.workers import gathered, workers
from protocol.errors import ConfigError

EXECUTED_SEED = 120_000
CALIBRATION_SEED = 130_000
NOT_OUTCOME = frozenset({"processes", "ray", "device"})


@dataclass(frozen=True)
class OfflineConfig:
    """Planner, penalty, generation and filter.

    ``penalty`` replaces ``plan.penalty`` where its bound holds.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        task: of the robot file.
        source: --out of the source stage.
        seed: of everything random; the same seed gives the same result.
        uncertainty: what is penalised and filtered: in the source ``total`` orders true errors
            better than disagreement does, which is blind to what all members get wrong alike.
        executed: share of trajectories acted out in the simulator the source was learned in; the
            others are imagined.
        parts: make the trajectories in so many parts, each with a random stream of its own; they
            decide the outcome, where they are made does not.
        processes: to make parts in; 0 for this one.
        ray: cluster to work on: auto, or its address; by default none.
        device: to plan on, as PyTorch calls it: cpu, or cuda; parts are made on the CPU.
    """

    robot: Path
    task: str
    source: Path
    seed: int = 0
    uncertainty: str = UNCERTAINTY
    executed: float = 0.25
    plan: PlanConfig = field(default_factory=PlanConfig)
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    parts: int | None = None
    processes: int = 0
    ray: str | None = None
    device: str = "cpu"


def run_generate(config: OfflineConfig, out: Path) -> dict[str, Any]:
    """Generate and filter; the kept transitions lie in ``kept.safetensors``.

    Raises:
        StoreError: ``out`` holds another run, or the source stage is not finished.
        ConfigError: the source's simulator cannot be opened, workers are given no parts, or there
            is no such device.
    """
    if config.parts is None and (config.processes or config.ray):
        raise ConfigError("there is nothing to spread over workers; say --parts N")
    if config.parts is not None:
        check_on_cpu(config.device, "--parts")
    setup = load_task(config.robot, config.task, config.device)
    source = load_source(config.source, setup)
    run = open_run(out, config, setup.files_sha256, NOT_OUTCOME)
    if run.result is not None:
        return run.result
    stage = _Stage(config, setup, source, torch.Generator().manual_seed(config.seed))
    bound = stage.bound()
    penalty = config.plan.penalty if bound is None or bound.penalty is None else bound.penalty
    made = stage.trajectories(penalty) if config.parts is None else _in_parts(config, penalty)
    chosen = _chosen(made, penalty, stage.limit(), config.filter)
    run.save("kept", pack("kept", kept_transitions(made, chosen.steps)))
    run.save("plane", _plane(chosen))
    summary = _summary(made, chosen, round(config.executed * config.generate.trajectories))
    return run.finish(
        {**summary, "penalty": penalty, "bound": None if bound is None else asdict(bound)}
    )


def load_kept(path: Path) -> Batch:
    """The kept transitions of a finished generation. Raises StoreError if there is none."""
    return unpack("kept", Batch, existing_run(path).load("kept"))


def make_part(config: OfflineConfig, penalty: float, part: Part, executed: bool) -> Trajectories:
    """One part of the trajectories, imagined or executed, from nothing but files and numbers."""
    setup = load_task(config.robot, config.task)
    generator = stream(config.seed, executed, part.index)
    stage = _Stage(config, setup, load_source(config.source, setup), generator)
    planner = stage.planner(penalty)
    if executed:
        return stage.execute(planner, part.count, part.first)
    return stage.imagine(planner, part.count)


def _in_parts(config: OfflineConfig, penalty: float) -> Trajectories:
    """All parts, the imagined ones first, wherever they are made."""
    here = replace(config, robot=config.robot.resolve(), source=config.source.resolve())
    executed = round(config.executed * config.generate.trajectories)
    imagined = config.generate.trajectories - executed
    pieces = [
        (here, penalty, part, kind)
        for kind, count in ((False, imagined), (True, executed))
        for part in parts_of(count, config.parts or 1)
    ]
    with workers(config.processes, config.ray) as pool:
        return together(gathered(pool, make_part, pieces))


class _Stage:
    """The source's model, policy and simulator, and what is made with them."""

    def __init__(
        self, config: OfflineConfig, setup: TaskSetup, source: Source, generator: torch.Generator
    ) -> None:
        sizes = {**source.config["model"], "uncertainty": config.uncertainty}
        self._config = config
        self._setup = setup
        self._source = source
        self._sac: Sac = setup.sac(SacConfig(**source.config["sac"]))
        self._model = setup.world_model(ModelConfig(**sizes))
        self._estimate = estimator(config.uncertainty, self._model)
        self._generator = generator

    def bound(self) -> Bound | None:
        """What fresh episodes of the source say about λ; None if none were asked for."""
        if self._config.penalty.episodes == 0:
            return None
        with self._opened(1) as (env,):
            return calibrate(
                env,
                actor_policy(self._sac.actor_space, self._source.sac.actor),
                self._model,
                self._source.model,
                self._estimate,
                self._config.plan.horizon,
                self._setup.discount,
                self._config.penalty,
                CALIBRATION_SEED + self._config.seed,
            )

    def trajectories(self, penalty: float) -> Trajectories:
        """The imagined ones, then the executed ones."""
        config = self._config
        executed = round(config.executed * config.generate.trajectories)
        planner = self.planner(penalty)
        kinds = (
            (self.imagine, config.generate.trajectories - executed),
            (self.execute, executed),
        )
        return together([make(planner, count) for make, count in kinds if count])

    def planner(self, penalty: float) -> Planner:
        """The search whose objective is penalised by ``penalty``."""
        source = self._source
        return Planner(
            self._model,
            source.model,
            self._sac.actor_space.view(source.sac.actor),
            self._sac.critic_space.view(source.sac.critic),
            replace(self._config.plan, penalty=penalty),
            self._setup.discount,
            self._generator,
        )

    def limit(self) -> float:
        """The uncertainty that no step should pass."""
        replay = self._source.replay
        real = self._estimate(self._source.model, replay.obs, replay.applied)
        return float(torch.quantile(real, self._config.filter.step_quantile))

    def imagine(self, planner: Planner, count: int) -> Trajectories:
        """``count`` trajectories inside the model."""
        source, H = self._source, self._config.plan.horizon
        config = replace(self._config.generate, trajectories=count)
        starts = draw_starts(source.starts, source.replay.obs, config, self._generator)
        with bar("imagine", config.steps) as progress:
            return generate(
                planner, self._model, source.model, starts, H, config, self._generator,
                lambda step: progress(step, ""),
            )  # fmt: skip

    def execute(self, planner: Planner, count: int, first: int = 0) -> Trajectories:
        """``count`` trajectories in simulators; ``first`` is the number of the first episode."""
        config, H = self._config.generate, self._config.plan.horizon
        with self._opened(count) as envs, bar("execute", config.steps) as progress:
            world = Simulators(envs, self._estimate, self._source.model)
            starts = world.reset(EXECUTED_SEED + self._config.seed + first)
            starts = starts.to(self._setup.device)
            return act_out(
                planner, world.step, starts, self._model.action_size, H, config, self._generator,
                lambda step: progress(step, ""),
            )  # fmt: skip

    @contextlib.contextmanager
    def _opened(self, count: int) -> Iterator[list[Env]]:
        """``count`` of the simulators that the source was learned in."""
        named = self._source.config
        if "body" not in named:
            raise ConfigError(
                f"{self._config.source} was learned from logs and has no simulator; "
                "give --executed 0 --penalty.episodes 0"
            )
        with contextlib.ExitStack() as stack:
            yield [
                stack.enter_context(
                    contextlib.closing(
                        make_env(
                            *(self._config.robot, named["task"], named["body"], named["env_id"]),
                            named.get("randomise", False),
                        )
                    )
                )
                for _ in range(count)
            ]


def _chosen(made: Trajectories, penalty: float, limit: float, config: FilterConfig) -> Selection:
    """What the filter makes of rewards less λ u each, as the planner saw them; returns in full."""
    certain = made.steps.reward - penalty * made.step_uncertainty
    penalised = made._replace(steps=made.steps._replace(reward=certain))
    chosen = select(penalised, limit, config)
    full = chosen.returns + penalty * chosen.uncertainty * made.live.sum(1)
    return chosen._replace(returns=full)


def _plane(chosen: Selection) -> dict[str, Tensor]:
    """What the report's scatter shows: one point per trajectory."""
    return {
        "returns": chosen.returns,
        "uncertainty": chosen.uncertainty,
        "kept": chosen.keep.to(torch.uint8),
    }


def _summary(made: Trajectories, chosen: Selection, executed: int) -> dict[str, Any]:
    keep = chosen.keep
    imagined = keep.shape[0] - executed
    return {
        "trajectories": keep.shape[0],
        "executed": executed,
        "kept": int(keep.sum()),
        "kept_executed": int(keep[imagined:].sum()),
        "return_mean_all": float(chosen.returns.mean()),
        "return_mean_kept": float(chosen.returns[keep].mean()),
        "uncertainty_mean_all": float(chosen.uncertainty.mean()),
        "uncertainty_mean_kept": float(chosen.uncertainty[keep].mean()),
        "steps_kept": int(chosen.steps.sum()),
        "steps_live": int(made.live.sum()),
        "coverage": chosen.coverage,
    }
