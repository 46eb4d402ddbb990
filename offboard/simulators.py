"""Simulators of the source, stepped side by side: where the planner's actions really lead.

They are :data:`offboard.generate.World` as the model is, so that planning, exploring and filtering
do not know which of the two they see; the model still says how unsure it is of every step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offboard.generate import Outcome
from offboard.model_state import ModelState
from offboard.rollout import Env, step_env
from offboard.uncertainty import Estimator
from offboard.world_model import Step
from protocol.errors import ConfigError


class Simulators:
    """M environments, one for each trajectory; one that ended is left alone.

    Args:
        envs: of the source; the caller closes them.
        estimate: uncertainty of a step.
        state: of the model that estimates it.
    """

    def __init__(self, envs: Sequence[Env], estimate: Estimator, state: ModelState) -> None:
        self._envs = envs
        self._estimate = estimate
        self._state = state
        self._ended = [False] * len(envs)
        self._cut = False

    def reset(self, seed: int) -> Tensor:
        """First observations (M, O); environment i begins at ``seed`` + i."""
        self._ended, self._cut = [False] * len(self._envs), False
        return torch.stack(
            [torch.from_numpy(env.reset(seed=seed + i)[0]) for i, env in enumerate(self._envs)]
        )

    def step(self, obs: Tensor, action: Tensor) -> Outcome:
        """Act in every simulator: (M, O), (M, A) → what came of it.

        Raises:
            ConfigError: a simulator cut an episode short and there is no next step to take.
        """
        if self._cut:
            raise ConfigError("the simulator's episodes are shorter; see --generate.steps")
        pairs = enumerate(zip(obs.cpu().numpy(), action.cpu().numpy(), strict=True))
        rows = [self._one(index, *pair) for index, pair in pairs]
        applied, reward, following, terminated = (
            torch.stack(column).to(obs.device) for column in zip(*rows, strict=True)
        )
        doubt = self._estimate(self._state, obs, applied)
        return Outcome(applied, Step(following, reward, terminated, doubt))

    def _one(
        self, index: int, obs: NDArray[np.float32], action: NDArray[np.float32]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Applied action (A,), reward, next observation (O,) and termination of one simulator."""
        if self._ended[index]:
            return torch.from_numpy(action), torch.zeros(()), torch.from_numpy(obs), torch.ones(())
        made, _, over = step_env(self._envs[index], obs, action)
        self._ended[index] = bool(made.terminated[0])
        self._cut |= over and not self._ended[index]
        return made.applied[0], made.reward[0], made.following[0], made.terminated[0]
