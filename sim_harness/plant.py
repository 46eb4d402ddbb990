"""The simulated rig: motor currents in, encoder readings out, physics in between."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import mujoco
import numpy as np

from protocol.robot_spec import Body, RobotSpec, load_robot_spec
from protocol.xl330 import RAD_PER_COUNT
from sim_harness.model import REST_KEY, compile_model
from sim_harness.motor import motor_of, torque_nm

ARM_NOISE_RAD = 0.1
PENDULUM_NOISE_RAD = 0.05


class Plant:
    """MuJoCo rig with actuation delay and 12-bit encoders; equal seeds and commands, equal motion.

    Every per-joint list is in the order of ``spec.joints``. Every current list is in the order of
    ``spec.actuated`` and in the joint's direction. Starts as after :meth:`reset`.
    """

    def __init__(self, spec: RobotSpec, body: Body, model: mujoco.MjModel, seed: int) -> None:
        self.step_s = 1.0 / spec.plant.physics_hz
        self._model = model
        self._data = mujoco.MjData(model)
        self._rng = np.random.default_rng(seed)
        self._motor = motor_of(body)
        self._joints = spec.joints
        self._qpos = [int(model.joint(joint.name).qposadr[0]) for joint in spec.joints]
        self._dofs = [int(model.joint(joint.name).dofadr[0]) for joint in spec.joints]
        self._driven = [
            (int(model.joint(joint.name).dofadr[0]), joint.gear) for joint in spec.actuated
        ]
        self._delay_steps = round(body.actuation_delay_ms * 1e-3 * spec.plant.physics_hz)
        self._queue: deque[tuple[int, list[float]]] = deque()
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Rest pose with small noise, no motion, no current; ``seed`` restarts the noise."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        rest = self._model.key(REST_KEY).id
        mujoco.mj_resetDataKeyframe(self._model, self._data, rest)
        for joint, address in zip(self._joints, self._qpos, strict=True):
            noise = ARM_NOISE_RAD if joint.actuated else PENDULUM_NOISE_RAD
            self._data.qpos[address] += self._rng.uniform(-noise, noise)
        self._data.qvel[:] = 0.0
        self._steps = 0
        self._queue.clear()
        self._commanded = [0.0] * len(self._driven)
        self._motor_nm = [0.0] * len(self._driven)

    def command_current_a(self, current_a: list[float]) -> None:
        """Ask for motor currents; they act after the body's actuation delay."""
        self._queue.append((self._steps + self._delay_steps, list(current_a)))

    def advance(self, steps: int) -> None:
        """Run ``steps`` physics steps of ``step_s`` seconds."""
        model, data, motor = self._model, self._data, self._motor
        velocity, force = data.qvel, data.qfrc_applied
        for _ in range(steps):
            while self._queue and self._queue[0][0] <= self._steps:
                self._commanded = self._queue.popleft()[1]
            for index, (dof, gear) in enumerate(self._driven):
                shaft = torque_nm(motor, self._commanded[index], gear * float(velocity[dof]))
                self._motor_nm[index] = shaft
                force[dof] = gear * shaft
            mujoco.mj_step(model, data)
            self._steps += 1

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset."""
        return self._steps * self.step_s

    def encoder_counts(self) -> list[int]:
        """What each node's 12-bit encoder counts, multi-turn; 0 is the encoder's centre."""
        position = self._data.qpos
        return [
            round(
                joint.sign
                * (float(position[address]) - joint.offset_rad)
                * joint.gear
                / RAD_PER_COUNT
            )
            for joint, address in zip(self._joints, self._qpos, strict=True)
        ]

    def position_rad(self) -> list[float]:
        """Joint angles as the encoders see them, not wrapped."""
        return [
            joint.sign * count * RAD_PER_COUNT / joint.gear + joint.offset_rad
            for joint, count in zip(self._joints, self.encoder_counts(), strict=True)
        ]

    def velocity_rad_s(self) -> list[float]:
        """True joint velocities."""
        return [float(self._data.qvel[dof]) for dof in self._dofs]

    def current_a(self) -> list[float]:
        """Currents that flow, after the supply's limit, one per actuated joint."""
        return [shaft / self._motor.torque_constant_nm_a for shaft in self._motor_nm]


def load_plant(robot: Path, body: str, seed: int) -> Plant:
    """The plant of a robot file. Raises ConfigError if the file, its MJCF or ``body`` is wrong."""
    spec = load_robot_spec(robot)
    parameters = spec.body(body)
    return Plant(spec, parameters, compile_model(spec, parameters, robot.parent), seed)
