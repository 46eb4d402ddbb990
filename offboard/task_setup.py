"""What every stage derives from a robot file and a task name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from offboard.sac import Sac, SacConfig, of_one
from offboard.world_model import ModelConfig, WorldModel
from protocol.errors import ConfigError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.tasks import Judge, judge_for


@dataclass(frozen=True)
class TaskSetup:
    """Robot, layout and judge of one task; ``files_sha256`` covers the TOML and its MJCF."""

    spec: RobotSpec
    task: str
    layout: Layout
    judge: Judge
    files_sha256: str

    @property
    def discount(self) -> float:
        """The task's discount per step, the one place it is written."""
        return self.spec.task(self.task).discount

    @property
    def episode_answers(self) -> int:
        """How often the policy answers in an episode that nothing ends early; see ADR 11."""
        return self.spec.task(self.task).episode_steps // self.spec.policy.divisor

    def sac(self, config: SacConfig, mean: Callable[[Tensor], Tensor] = of_one) -> Sac:
        """The learner's algorithm for this observation and action size; ``mean`` as there."""
        return Sac(self.layout.size, self.layout.action_size, self.discount, config, mean)

    def world_model(self, config: ModelConfig) -> WorldModel:
        """The ensemble for this observation and task."""
        return WorldModel(self.layout, self.judge, config)


def load_task(robot: Path, task: str) -> TaskSetup:
    """Read the robot file. Raises ConfigError for a bad file or an unknown task."""
    spec = load_robot_spec(robot)
    return TaskSetup(
        spec, task, Layout(spec), judge_for(spec, spec.task(task)), _digest(robot, spec)
    )


def _digest(robot: Path, spec: RobotSpec) -> str:
    mjcf = robot.parent / spec.plant.mjcf
    try:
        return hashlib.sha256(robot.read_bytes() + mjcf.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{mjcf}: cannot be read ({error.strerror}); see plant.mjcf") from error
