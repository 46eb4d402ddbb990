"""A world of the benchmark: where it is found, and what a learner may know about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from offboard.columns import Columns, LastAction, Unnamed
from offboard.model_state import ModelConfig
from offboard.rollout import Env
from offboard.sac import Sac, SacConfig
from offboard.task_setup import TaskSetup, load_task
from offboard.world_model import WorldModel
from protocol import walk
from protocol.errors import ConfigError
from protocol.tasks import Judge

MODULE = "sim_harness.registration"
RIG = "wombet/Rig-v0"
QUADRUPED = "wombet/Quadruped-v0"
_WALK = LastAction(walk.SIZE, walk.JOINTS, walk.LAST_ACTION.start)


@dataclass(frozen=True)
class World:
    """One environment: its id and what it is made with."""

    env_id: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """What every method knows of a pair: its sizes, its discount, and its reward if it is known."""

    layout: Columns
    judge: Judge | None
    discount: float

    def sac(self, config: SacConfig) -> Sac:
        """The algorithm for this observation and action size."""
        return sac_of(self.layout.size, self.layout.action_size, self.discount, config)

    def world_model(self, config: ModelConfig) -> WorldModel:
        """The ensemble for this observation and task."""
        return _world_model(self, config)


@cache
def sac_of(O: int, A: int, discount: float, config: SacConfig) -> Sac:
    """One for each process: it has no state, and compiling it takes longer than a short cell."""
    return Sac(O, A, discount, config)


@cache
def _unnamed(O: int, A: int) -> Unnamed:
    return Unnamed(O, A)


@cache
def _world_model(problem: Problem, config: ModelConfig) -> WorldModel:
    return WorldModel(problem.layout, problem.judge, config)


def open_world(world: World) -> Env:
    """Make the environment. Raises ConfigError if there is none, or not of that kind."""
    try:
        return gymnasium.make(f"{MODULE}:{world.env_id}", disable_env_checker=True, **world.options)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise ConfigError(f"no world {world.env_id!r} ({error}); install the sim extra") from error


def problem_of(world: World, discount: float) -> Problem:
    """Rig and quadruped have a reward that is known; elsewhere it must be learned."""
    if world.env_id == RIG:
        setup = _task(world.options["robot"], world.options["task"])
        return Problem(setup.layout, setup.judge, setup.discount)
    if world.env_id == QUADRUPED:
        return Problem(_WALK, walk.walk, discount)
    env = open_world(world)
    O, A = (int(np.prod(space.shape or ())) for space in (env.observation_space, env.action_space))
    env.close()
    return Problem(_unnamed(O, A), None, discount)


@cache
def _task(robot: str, task: str) -> TaskSetup:
    return load_task(Path(robot), task)
