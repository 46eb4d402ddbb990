"""What every stage derives from a robot file and a task name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from offboard.device import CPU, the_device
from offboard.model_state import ModelConfig
from offboard.sac import Sac, SacConfig, of_one
from offboard.world_model import WorldModel
from protocol.errors import ConfigError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.tasks import Judge, judge_for


@dataclass(frozen=True)
class TaskSetup:
    """Robot, layout and judge of one task, and where it is learned.

    ``files_sha256`` covers the TOML and its MJCF.
    """

    spec: RobotSpec
    task: str
    layout: Layout
    judge: Judge
    files_sha256: str
    device: torch.device = CPU

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
        return Sac(
            self.layout.size, self.layout.action_size, self.discount, config, mean, self.device
        )

    def world_model(self, config: ModelConfig) -> WorldModel:
        """The ensemble for this observation and task."""
        return WorldModel(self.layout, self.judge, config, self.device)


def load_task(robot: Path, task: str, device: str = "cpu") -> TaskSetup:
    """Read the robot file; what is made of it lives on ``device``, which PyTorch calls so.

    Raises:
        ConfigError: a bad file, an unknown task, or no such device.
    """
    spec = load_robot_spec(robot)
    judge = judge_for(spec, spec.task(task))
    return TaskSetup(spec, task, Layout(spec), judge, _digest(robot, spec), the_device(device))


def _digest(robot: Path, spec: RobotSpec) -> str:
    mjcf = robot.parent / spec.plant.mjcf
    try:
        return hashlib.sha256(robot.read_bytes() + mjcf.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{mjcf}: cannot be read ({error.strerror}); see plant.mjcf") from error
