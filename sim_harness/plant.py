"""The simulated rig: what is asked of the motors in, encoder readings out, physics in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np

from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.xl330 import RAD_PER_COUNT
from sim_harness.drive import drive_for
from sim_harness.encoders import Encoders
from sim_harness.model import REST_KEY, compile_model
from sim_harness.wire_end import Demand

ARM_NOISE_RAD = 0.1
PENDULUM_NOISE_RAD = 0.05


class Plant:
    """MuJoCo rig with actuation delay and 12-bit encoders; equal seeds and commands, equal motion.

    Every per-joint list is in the order of ``spec.joints``. Demands and currents are in that of
    ``spec.actuated`` and in the joint's direction. Starts as after :meth:`reset`.
    """

    def __init__(self, spec: RobotSpec, body: Body, model: mujoco.MjModel, seed: int) -> None:
        self.step_s = 1.0 / spec.plant.physics_hz
        self._model = model
        self._data = mujoco.MjData(model)
        self._rng = np.random.default_rng(seed)
        self._joints = spec.joints
        self._qpos = [int(model.joint(joint.name).qposadr[0]) for joint in spec.joints]
        self._encoders = Encoders(model, spec.joints)
        self._drive = drive_for(spec, body, model)
        self._delay_steps = round(body.actuation_delay_ms * 1e-3 * spec.plant.physics_hz)
        self._queue: deque[tuple[int, Sequence[Demand]]] = deque()
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Rest pose with small noise, no motion, no torque; ``seed`` restarts the noise."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        rest = self._model.key(REST_KEY).id
        mujoco.mj_resetDataKeyframe(self._model, self._data, rest)
        for joint, address in zip(self._joints, self._qpos, strict=True):
            noise = ARM_NOISE_RAD if joint.actuated else PENDULUM_NOISE_RAD
            self._data.qpos[address] += self._rng.uniform(-noise, noise)
        self._data.qvel[:] = 0.0
        self._data.xfrc_applied[:] = 0.0
        self._steps = 0
        self._queue.clear()
        self._drive.release()

    def command(self, demands: Sequence[Demand]) -> None:
        """Ask something of the motors; it acts after the body's actuation delay."""
        self._queue.append((self._steps + self._delay_steps, [*demands]))

    def push(self, body: str, force_n: Sequence[float]) -> None:
        """Push a body of the MJCF at its centre of mass, in world axes, until told otherwise."""
        self._data.xfrc_applied[self._model.body(body).id, :3] = force_n

    def advance(self, steps: int) -> None:
        """Run ``steps`` physics steps of ``step_s`` seconds."""
        model, data, queue, drive = self._model, self._data, self._queue, self._drive
        for _ in range(steps):
            while queue and queue[0][0] <= self._steps:
                drive.command(queue.popleft()[1], data)
            drive.apply(data)
            mujoco.mj_step(model, data)
            self._steps += 1

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset."""
        return self._steps * self.step_s

    def encoder_counts(self) -> list[int]:
        """What each node's 12-bit encoder counts, multi-turn; 0 is the encoder's centre."""
        return [
            round(joint.sign * (angle - joint.offset_rad) * joint.gear / RAD_PER_COUNT)
            for joint, angle in zip(
                self._joints, self._encoders.angle_rad(self._data).tolist(), strict=True
            )
        ]

    def position_rad(self) -> list[float]:
        """Joint angles as the encoders see them, not wrapped."""
        return [
            joint.sign * count * RAD_PER_COUNT / joint.gear + joint.offset_rad
            for joint, count in zip(self._joints, self.encoder_counts(), strict=True)
        ]

    def velocity_rad_s(self) -> list[float]:
        """True joint velocities."""
        velocity: list[float] = self._encoders.velocity_rad_s(self._data).tolist()
        return velocity

    def current_a(self) -> list[float]:
        """Currents that flow, after the supply's limit, one per actuated joint."""
        return [*self._drive.current_a]


def load_plant(robot: Path, body: str, seed: int) -> Plant:
    """The plant of a robot file. Raises ConfigError if the file, its MJCF or ``body`` is wrong."""
    spec = load_robot_spec(robot)
    parameters = spec.body(body)
    return Plant(spec, parameters, compile_model(spec, parameters, robot.parent), seed)
