"""Gymnasium's HalfCheetah-v5 and Ant-v5 on a body of the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.mujoco_env import expand_model_path
from gymnasium.spaces import Box
from numpy.typing import NDArray

from sim_harness.body_edits import Edit, compiled, find_body
from sim_harness.locomotion_bodies import ANT, CHEETAH

FloatArray = NDArray[np.float32]


class LocomotionEnv(gymnasium.Env[FloatArray, FloatArray]):
    """A locomotion task of gymnasium, its reward and termination included, on another body.

    Observations are (O,) float32. Actions are (A,) in [-1, 1]; what the driver sent, clipped and
    without NaN, is ``info["applied"]``, (A,) float32. The horizon is the registration's.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, task: MujocoEnv, action_sign: float) -> None:
        self._task = task
        self._sign = np.float32(action_sign)
        self.observation_space = Box(-np.inf, np.inf, task.observation_space.shape, np.float32)
        self.action_space = Box(-1.0, 1.0, (task.model.nu,), np.float32)

    @property
    def model(self) -> mujoco.MjModel:
        """The body as it was compiled."""
        return self._task.model

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Gymnasium's start pose and its noise."""
        super().reset(seed=seed, options=options)
        obs, info = self._task.reset(seed=seed)
        return obs.astype(np.float32), info

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """One step of the task; an action that is not finite becomes zero torque."""
        applied = np.where(np.isfinite(action), np.clip(action, -1.0, 1.0), 0.0).astype(np.float32)
        obs, reward, terminated, truncated, info = self._task.step(self._sign * applied)
        answer = {**info, "applied": applied}
        return obs.astype(np.float32), float(reward), bool(terminated), truncated, answer

    def close(self) -> None:
        """Release what the task holds."""
        self._task.close()  # type: ignore[no-untyped-call]


def make_cheetah(body: str = "nominal") -> LocomotionEnv:
    """``wombet/Cheetah-v0``: O = 17, A = 6. Raises ConfigError for an unknown ``body``."""
    change = find_body(CHEETAH, body)
    task = _on_model(HalfCheetahEnv, _model("half_cheetah.xml", change.edit))
    return LocomotionEnv(task(forward_reward_weight=change.forward_weight), change.action_sign)


def make_ant(body: str = "nominal") -> LocomotionEnv:
    """``wombet/Ant-v0``: O = 27 (no contact forces), A = 8. Raises ConfigError as above."""
    change = find_body(ANT, body)
    task = _on_model(AntEnv, _model("ant.xml", change.edit))
    return LocomotionEnv(
        task(forward_reward_weight=change.forward_weight, include_cfrc_ext_in_observation=False),
        change.action_sign,
    )


def _model(asset: str, edit: Edit) -> mujoco.MjModel:
    """Gymnasium's MJCF of that name after ``edit``."""
    mjcf = mujoco.MjSpec.from_file(expand_model_path(asset))
    edit(mjcf)
    return compiled(mjcf)


def _on_model(task: type[MujocoEnv], model: mujoco.MjModel) -> Callable[..., MujocoEnv]:
    """``task`` built around ``model`` instead of around a file."""

    def initialise(_: MujocoEnv) -> tuple[mujoco.MjModel, mujoco.MjData]:
        return model, mujoco.MjData(model)

    return type(task.__name__, (task,), {"_initialize_simulation": initialise})
