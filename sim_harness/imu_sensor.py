"""What an IMU on the body of the free joint feels, wrongly by a bias and noise."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from protocol.plant_spec import Body
from sim_harness.wire_end import Attitude

TEMPERATURE_C = 30.0

Array = NDArray[np.float64]


class ImuSensor:
    """One sensor; it feels the same at every look within one step, so that looking changes nothing.

    Its biases, one number for each axis, are drawn once, up to what ``body`` says either way.
    """

    def __init__(self, model: mujoco.MjModel, body: Body, seed: int) -> None:
        free = int(np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)[0])
        self._quaternion = int(model.jnt_qposadr[free]) + 3
        self._turning = int(model.jnt_dofadr[free]) + 3
        self._seed = seed
        self._sigma = np.repeat([body.imu_tilt_noise_rad, body.imu_rate_noise_rad_s], 3)
        largest = np.repeat([body.imu_tilt_bias_rad, body.imu_rate_bias_rad_s], 3)
        self._bias = largest * np.random.default_rng((seed, 0)).uniform(-1.0, 1.0, 6)
        self._to_world = np.zeros(9)

    def feel(self, data: mujoco.MjData, step: int, voltage_v: float) -> Attitude:
        """Of physics step ``step``; ``voltage_v`` is the node's supply."""
        mujoco.mju_quat2Mat(self._to_world, data.qpos[self._quaternion : self._quaternion + 4])
        turning = data.qvel[self._turning : self._turning + 3]
        felt = np.concatenate([-self._to_world[6:], turning]) + self._error(step)
        down = felt[:3] / np.linalg.norm(felt[:3])
        return Attitude(tuple(down.tolist()), tuple(felt[3:].tolist()), voltage_v, TEMPERATURE_C)

    def _error(self, step: int) -> Array:
        if not self._sigma.any():
            return self._bias
        noise = np.random.default_rng((self._seed, 1 + step)).normal(0.0, self._sigma)
        return self._bias + noise
