"""The simulated rig: what is asked of the motors in, encoder readings out, physics in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import mujoco
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.xl330 import RAD_PER_COUNT
from sim_harness.drive import drive_for
from sim_harness.encoder_error import encoder_error_of
from sim_harness.encoders import Encoders
from sim_harness.friction import stribeck_of
from sim_harness.imu_sensor import ImuSensor
from sim_harness.model import REST_KEY, compile_model
from sim_harness.supply import Supply
from sim_harness.wire_end import Attitude, Demand

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
        self._encoders = Encoders(model, self._data, spec.joints)
        self._error = encoder_error_of(body, len(spec.joints))
        self._imu = None if spec.imu is UNSET else ImuSensor(model, body, seed)
        self._drive = drive_for(spec, body, model, self._data)
        self._supply, self._stribeck = Supply(spec, body, model), stribeck_of(spec, body, model)
        self._step = self._acts()
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
        if self._error is not None:
            self._error.restart(int(self._rng.integers(1 << 32)))
        self._queue.clear()
        self._drive.release()
        self.feed(None)

    def command(self, demands: Sequence[Demand]) -> None:
        """Ask something of the motors; it acts after the body's actuation delay."""
        self._queue.append((self._steps + self._delay_steps, [*demands]))

    def push(self, body: str, force_n: Sequence[float]) -> None:
        """Push a body of the MJCF at its centre of mass, in world axes, until told otherwise."""
        self._data.xfrc_applied[self._model.body(body).id, :3] = force_n

    def feed(self, voltage_v: float | None) -> None:
        """Another supply voltage, without load; None for the body's own again."""
        self._supply.give(voltage_v)
        self._drive.feed(self._supply.voltage_v)

    def advance(self, steps: int) -> None:
        """Run ``steps`` physics steps of ``step_s`` seconds."""
        queue, end = self._queue, self._steps + steps
        while self._steps < end:
            while queue and queue[0][0] <= self._steps:
                self._drive.command(queue.popleft()[1])
            until = min(end, queue[0][0]) if queue else end
            for _ in range(until - self._steps):
                for act in self._step:
                    act()
            self._steps = until

    def _acts(self) -> list[Callable[[], None]]:
        """What happens in every physics step, in order."""
        acts = [self._drive.apply]
        if self._stribeck is not None:
            acts.append(partial(self._stribeck.apply, self._data))
        acts.append(partial(mujoco.mj_step, self._model, self._data))
        return [*acts, self._sag] if self._supply.sags else acts

    def _sag(self) -> None:
        self._supply.load(self._drive.current_a, self._data)
        self._drive.feed(self._supply.voltage_v)

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset."""
        return self._steps * self.step_s

    def encoder_counts(self) -> list[int]:
        """What each node's 12-bit encoder counts, multi-turn; 0 is the encoder's centre."""
        counts = [
            joint.sign * (angle - joint.offset_rad) * joint.gear / RAD_PER_COUNT
            for joint, angle in zip(self._joints, self._encoders.angle_rad().tolist(), strict=True)
        ]
        if self._error is not None:
            return self._error.spoilt(counts, self._steps)
        return [round(count) for count in counts]

    def position_rad(self) -> list[float]:
        """Joint angles as the encoders see them, not wrapped."""
        return [
            joint.sign * count * RAD_PER_COUNT / joint.gear + joint.offset_rad
            for joint, count in zip(self._joints, self.encoder_counts(), strict=True)
        ]

    def velocity_rad_s(self) -> list[float]:
        """True joint velocities."""
        velocity: list[float] = self._encoders.velocity_rad_s().tolist()
        return velocity

    def attitude(self) -> Attitude | None:
        """What the IMU feels; None without one."""
        if self._imu is None:
            return None
        return self._imu.feel(self._data, self._steps, self._supply.voltage_v)

    @property
    def qpos(self) -> NDArray[np.float64]:
        """(nq,) MuJoCo's coordinates, for whoever draws the rig; a copy."""
        return np.array(self._data.qpos)

    @property
    def supply_v(self) -> float:
        """What the motors get, under the load of the last step."""
        return self._supply.voltage_v

    def current_a(self) -> list[float]:
        """Currents that flow, after the supply's limit, one per actuated joint."""
        return self._drive.current_a


def load_plant(robot: Path, body: str, seed: int) -> Plant:
    """The plant of a robot file. Raises ConfigError if the file, its MJCF or ``body`` is wrong."""
    spec = load_robot_spec(robot)
    parameters = spec.body(body)
    return Plant(spec, parameters, compile_model(spec, parameters, robot.parent), seed)
