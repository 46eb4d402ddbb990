"""The rig as a ``gymnasium.Env``: observation, safety envelope and task are the robot's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from protocol.envelope import joint_limits, limit_effort
from protocol.observation import Observer
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.tasks import judge_for
from protocol.xl330 import AMPERE_PER_COUNT
from sim_harness.gap import stretched
from sim_harness.model import compile_model
from sim_harness.plant import Plant

FloatArray = NDArray[np.float32]


class RigEnv(gymnasium.Env[FloatArray, FloatArray]):
    """One episode of a task on a simulated body; one step is one control tick.

    Observations are (O,) float32. Actions are (A,) in [-1, 1]; what was really sent, after envelope
    and rounding to motor units, is ``info["applied"]``, (A,) float32.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self, robot: str | Path, task: str, body: str = "nominal", gap: float = 1.0
    ) -> None:
        """Load a robot.

        Args:
            robot: hw_configs/NAME.toml.
            task: one of its tasks.
            body: one of its simulated bodies.
            gap: how much of the way from the nominal body to ``body``, at least 0. 1 is ``body``
                itself; above 1 every difference is exaggerated (:func:`sim_harness.gap.stretched`).

        Raises:
            ConfigError: the file, its MJCF, ``task``, ``body`` or ``gap`` is wrong.
        """
        path = Path(robot)
        spec = load_robot_spec(path)
        parameters = stretched(spec.body("nominal"), spec.body(body), gap)
        model = compile_model(spec, parameters, path.parent)
        self._plant = Plant(spec, parameters, model, seed=0)
        self._observer = Observer(spec)
        self._judge = judge_for(spec, spec.task(task))
        self._episode_steps = spec.task(task).episode_steps
        self._steps_per_tick = spec.plant.physics_hz // spec.control_hz
        self._actuators = _Actuators(spec)
        self._step = 0
        outputs, inputs = len(spec.observation), len(spec.actuated)
        self.observation_space = Box(-np.inf, np.inf, (outputs,), np.float32)
        self.action_space = Box(-1.0, 1.0, (inputs,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Rest pose; one tick passes at zero current so that velocities and history are real."""
        super().reset(seed=seed, options=options)
        self._plant.reset(seed)
        self._observer.reset()
        self._actuators.reset()
        self._step = 0
        self._observe()
        self._tick(np.zeros(len(self._actuators), dtype=np.float32))
        return self._observe(), {}

    def step(
        self, action: FloatArray
    ) -> tuple[FloatArray, float, bool, bool, dict[str, FloatArray]]:
        """Apply ``action`` (A,) for one tick; NaN becomes zero effort, as on the robot."""
        before = self._observer.vector.copy()
        applied = self._tick(action)
        following = self._observe()
        outcome = self._judge(before, applied, following)
        self._step += 1
        terminated = bool(outcome.terminated)
        truncated = not terminated and self._step >= self._episode_steps
        return following, float(outcome.reward), terminated, truncated, {"applied": applied}

    def _observe(self) -> FloatArray:
        return self._observer.observe(self._plant.position_rad(), self._plant.time_s).copy()

    def _tick(self, action: FloatArray) -> FloatArray:
        """Send the action through the envelope, let one control period pass; what was sent (A,)."""
        current_a = self._actuators.currents(
            action, self._plant.position_rad(), self._observer.velocity
        )
        applied = self._actuators.actions(current_a)
        self._plant.command_current_a(current_a)
        self._plant.advance(self._steps_per_tick)
        self._observer.applied(applied)
        return applied


class _Actuators:
    """From unit actions to the currents the safety envelope and the motor's units allow."""

    def __init__(self, spec: RobotSpec) -> None:
        self._limits = [joint_limits(spec, joint) for joint in spec.actuated]
        self._joints = [spec.joint_index(joint.name) for joint in spec.actuated]
        kt = spec.action.torque_constant_nm_a
        self._nm_per_a = [kt * joint.gear for joint in spec.actuated]
        self._current_max_a = spec.action.current_max_a
        self.reset()

    def __len__(self) -> int:
        return len(self._joints)

    def reset(self) -> None:
        self._sent_a = [0.0] * len(self._joints)

    def currents(
        self, action: FloatArray, position_rad: list[float], velocity_rad_s: list[float]
    ) -> list[float]:
        """Currents in whole motor units; remembered, because the rate limit needs the last."""
        self._sent_a = [
            self._current(index, float(action[index]), position_rad[joint], velocity_rad_s[joint])
            for index, joint in enumerate(self._joints)
        ]
        return self._sent_a

    def _current(
        self, index: int, action: float, position_rad: float, velocity_rad_s: float
    ) -> float:
        nm_per_a = self._nm_per_a[index]
        allowed = limit_effort(
            self._limits[index],
            asked_nm=action * self._current_max_a * nm_per_a,
            previous_nm=self._sent_a[index] * nm_per_a,
            position_rad=position_rad,
            velocity_rad_s=velocity_rad_s,
        )
        return round(allowed.effort_nm / nm_per_a / AMPERE_PER_COUNT) * AMPERE_PER_COUNT

    def actions(self, current_a: list[float]) -> FloatArray:
        """Unit actions (A,) equal to these currents."""
        unit = np.array(current_a) / self._current_max_a
        return np.clip(unit, -1.0, 1.0).astype(np.float32)
