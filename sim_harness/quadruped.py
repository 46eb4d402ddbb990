"""A twelve-joint walker as a ``gymnasium.Env``: servo targets in, joints and trunk motion out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from protocol import walk
from protocol.errors import ConfigError
from sim_harness.quadruped_bodies import STANCE_KEY, compile_quadruped

FloatArray = NDArray[np.float32]

CONTROL_HZ = 20
EPISODE_STEPS = 200
SETTLING_TICKS = 4
TARGET_RANGE_RAD = np.tile([0.15, 0.35, 0.35], 4)
"""Roll, pitch and knee of each leg: how far from the stance an action of 1 puts the target."""
START_NOISE_RAD = 0.1


class QuadrupedEnv(gymnasium.Env[FloatArray, FloatArray]):
    """Walk forward at a speed drawn anew for each episode; one step is one tick of 20 Hz.

    Observations are (O,) float32, columns as in :mod:`protocol.walk`. Actions are (A,) in [-1, 1]:
    servo targets around the stance. What was sent is ``info["applied"]``, (A,) float32; where an
    action is not finite, the target stays as it was.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        mjcf: str | Path,
        body: str = "nominal",
        slowest_m_s: float = 0.25,
        fastest_m_s: float = 0.4,
    ) -> None:
        """Build the walker.

        Args:
            mjcf: hw_configs/quadruped.xml.
            body: one of :data:`sim_harness.quadruped_bodies.BODIES`.
            slowest_m_s: lower end of the commanded speeds, positive.
            fastest_m_s: their upper end.

        Raises:
            ConfigError: the MJCF, ``body`` or the speeds are wrong.
        """
        if not 0.0 < slowest_m_s <= fastest_m_s:
            raise ConfigError(
                f"speeds {slowest_m_s:g} to {fastest_m_s:g} m/s: write 0 < slowest <= fastest"
            )
        self._model = compile_quadruped(Path(mjcf), body)
        self._data = mujoco.MjData(self._model)
        self._key = self._model.key(STANCE_KEY).id
        self._stance_rad = self._model.key_ctrl[self._key].copy()
        self._steps_per_tick = round(1.0 / CONTROL_HZ / self._model.opt.timestep)
        self._speeds_m_s = (slowest_m_s, fastest_m_s)
        self._obs = np.zeros(walk.SIZE, dtype=np.float32)
        self._command_m_s = slowest_m_s
        self._applied = np.zeros(walk.JOINTS, dtype=np.float32)
        self._step = 0
        self.observation_space = Box(-np.inf, np.inf, (walk.SIZE,), np.float32)
        self.action_space = Box(-1.0, 1.0, (walk.JOINTS,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Stand near the stance, settle there, and take a command."""
        super().reset(seed=seed, options=options)
        mujoco.mj_resetDataKeyframe(self._model, self._data, self._key)
        noise = self.np_random.uniform(-START_NOISE_RAD, START_NOISE_RAD, walk.JOINTS)
        self._data.qpos[-walk.JOINTS :] += noise
        self._command_m_s = float(self.np_random.uniform(*self._speeds_m_s))
        self._applied = np.zeros(walk.JOINTS, dtype=np.float32)
        self._step = 0
        for _ in range(SETTLING_TICKS):
            self._tick()
        return self._obs.copy(), {}

    def step(
        self, action: FloatArray
    ) -> tuple[FloatArray, float, bool, bool, dict[str, FloatArray]]:
        """Send the servos their targets and let one control period pass."""
        before = self._obs.copy()
        asked = np.where(np.isfinite(action), np.clip(action, -1.0, 1.0), self._applied)
        self._applied = asked.astype(np.float32)
        self._tick()
        outcome = walk.walk(before, self._applied, self._obs)
        self._step += 1
        terminated = bool(outcome.terminated)
        truncated = not terminated and self._step >= EPISODE_STEPS
        info = {"applied": self._applied.copy()}
        return self._obs.copy(), float(outcome.reward), terminated, truncated, info

    def _tick(self) -> None:
        """One control period towards the present targets; the observation afterwards."""
        start_m = self._data.qpos[:2].copy()
        self._data.ctrl[:] = self._stance_rad + TARGET_RANGE_RAD * self._applied
        mujoco.mj_step(self._model, self._data, nstep=self._steps_per_tick)
        self._observe((self._data.qpos[:2] - start_m) * CONTROL_HZ)

    def _observe(self, ground_m_s: NDArray[np.float64]) -> None:
        """Fill the observation; ``ground_m_s`` (2,) is the trunk's mean velocity over the tick."""
        data, obs = self._data, self._obs
        to_world = np.zeros(9)
        mujoco.mju_quat2Mat(to_world, data.qpos[3:7])
        yaw_rad = np.arctan2(to_world[3], to_world[0])
        obs[walk.JOINT_POSITION] = data.qpos[-walk.JOINTS :] - self._stance_rad
        obs[walk.JOINT_VELOCITY] = data.qvel[-walk.JOINTS :] * walk.JOINT_VELOCITY_SCALE
        obs[walk.GRAVITY] = -to_world[6:]
        obs[walk.TURN_RATE] = data.qvel[3:6] * walk.TURN_RATE_SCALE
        obs[walk.SPEED] = _rotated_back(ground_m_s, yaw_rad) * walk.SPEED_SCALE
        obs[walk.COMMAND] = self._command_m_s * walk.SPEED_SCALE
        obs[walk.LAST_ACTION] = self._applied


def _rotated_back(vector: NDArray[np.float64], yaw_rad: float) -> NDArray[np.float64]:
    """A horizontal ``vector`` (2,) of the world as (ahead, to the left) of a heading."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([cos * vector[0] + sin * vector[1], cos * vector[1] - sin * vector[0]])
