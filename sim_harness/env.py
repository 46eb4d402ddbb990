"""The rig as a ``gymnasium.Env``: observation, safety envelope and task are the robot's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from msgspec import UNSET
from numpy.typing import NDArray

from protocol.observation import LEVEL, Observer
from protocol.robot_spec import load_robot_spec
from protocol.tasks import judge_for
from sim_harness.actuators import Actuators
from sim_harness.gap import stretched
from sim_harness.model import compile_model
from sim_harness.plant import Plant
from sim_harness.randomised import drawn

FloatArray = NDArray[np.float32]


class RigEnv(gymnasium.Env[FloatArray, FloatArray]):
    """One episode of a task on a simulated body; one step is one answer of the policy.

    That is one control tick, or as many as the robot file's ``policy`` table says.

    Observations are (O,) float32. Actions are (A,) in [-1, 1]; what was really sent, after envelope
    and rounding to motor units, is ``info["applied"]``, (A,) float32.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        robot: str | Path,
        task: str,
        body: str = "nominal",
        gap: float = 1.0,
        randomise: bool = False,
    ) -> None:
        """Load a robot.

        Args:
            robot: hw_configs/NAME.toml.
            task: one of its tasks.
            body: one of its simulated bodies.
            gap: how much of the way from the nominal body to ``body``, at least 0. 1 is ``body``
                itself; above 1 every difference is exaggerated (:func:`sim_harness.gap.stretched`).
            randomise: every episode has a body of its own, drawn from the robot file's
                ``plant.randomise`` around that one (:func:`sim_harness.randomised.drawn`).

        Raises:
            ConfigError: the file, its MJCF, ``task``, ``body`` or ``gap`` is wrong, or
                the task has no ranges to draw from.
        """
        path = Path(robot)
        spec = load_robot_spec(path)
        self._spec, self._task, self._directory = spec, task, path.parent
        self._body, self._randomise = (
            stretched(spec.body("nominal"), spec.body(body), gap),
            randomise,
        )
        self._plant = self._made(seed=0)
        self._observer = Observer(spec)
        self._judge = judge_for(spec, spec.task(task))
        self._episode_steps = spec.task(task).episode_steps
        self._policy = spec.policy
        self._steps_per_tick = spec.plant.physics_hz // spec.control_hz
        self._actuators = Actuators(spec)
        self._observer.goal_rad = self._actuators.goal_rad
        self._speeds_m_s = spec.task(task).speeds_m_s
        self._step = 0
        outputs, inputs = len(spec.observation), len(spec.actuated)
        self._command: FloatArray = np.zeros(inputs, dtype=np.float32)
        self.observation_space = Box(-np.inf, np.inf, (outputs,), np.float32)
        self.action_space = Box(-1.0, 1.0, (inputs,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Rest pose; one tick passes without motion so that velocities and history are real."""
        super().reset(seed=seed, options=options)
        if self._randomise:
            self._plant = self._made(int(self.np_random.integers(1 << 32)))
        else:
            self._plant.reset(seed)
        if self._speeds_m_s is not UNSET:
            self._observer.command_m_s = [float(self.np_random.uniform(*self._speeds_m_s))]
        self._observer.reset()
        self._actuators.rest(self._plant.position_rad())
        self._step = 0
        self._command = np.zeros_like(self._command)
        self._observe()
        self._tick(self._actuators.still)
        return self._observe(), {}

    def step(
        self, action: FloatArray
    ) -> tuple[FloatArray, float, bool, bool, dict[str, FloatArray]]:
        """Apply ``action`` (A,); NaN becomes zero effort, as on the robot."""
        before = self._observer.vector.copy()
        for tick in range(1, self._policy.divisor + 1):
            sent = self._tick(self._led(action, tick))
            if tick == 1 or self._policy.between == "interpolate":
                applied = sent
            following = self._observe()
            outcome = self._judge(before, applied, following)
            self._step += 1
            if outcome.terminated:
                break
        self._command = np.where(np.isfinite(action), action, np.float32(0.0))
        terminated = bool(outcome.terminated)
        truncated = not terminated and self._step >= self._episode_steps
        return following, float(outcome.reward), terminated, truncated, {"applied": applied}

    def _made(self, seed: int) -> Plant:
        """A plant with the body, or with one drawn around it."""
        spec, body = self._spec, self._body
        if self._randomise:
            body = drawn(spec, self._task, body, self.np_random)
        return Plant(spec, body, compile_model(spec, body, self._directory), seed)

    def _led(self, action: FloatArray, tick: int) -> FloatArray:
        """The command in an answer's ``tick``-th tick, from 1: on the way from the last answer."""
        share = self._policy.share(tick)
        return action if share == 1.0 else self._command + share * (action - self._command)

    def _observe(self) -> FloatArray:
        attitude = self._plant.attitude()
        felt = LEVEL if attitude is None else (*attitude.gravity, *attitude.turn_rate_rad_s)
        return self._observer.observe(self._plant.position_rad(), self._plant.time_s, felt).copy()

    def _tick(self, action: FloatArray) -> FloatArray:
        """Send the action through the envelope, let one control period pass; what was sent (A,)."""
        demands = self._actuators.demands(
            action, self._plant.position_rad(), self._observer.velocity
        )
        applied = self._actuators.applied()
        self._plant.command(demands)
        self._plant.advance(self._steps_per_tick)
        self._observer.applied(applied)
        return applied
