"""The observation, laid out in exactly one place; training, harness and robot all call it.

:class:`Layout` says which column is what; :class:`Observer` turns joint readings into the vector.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from msgspec import UNSET
from numpy.typing import NDArray

from protocol.errors import ConfigError
from protocol.leg_odometry import LegOdometry
from protocol.robot_spec import Policy, RobotSpec, Term

LEVEL = (0.0, 0.0, -1.0, 0.0, 0.0, 0.0)
"""What a body feels that stands still and level; where there is no IMU, every body does."""
_AXES = {"x": 0, "y": 1, "z": 2}

FloatArray = NDArray[np.float32]


def wrap(angle_rad: float) -> float:
    """The same angle in [-pi, pi]."""
    return (angle_rad + math.pi) % (2.0 * math.pi) - math.pi


class Layout:
    """Columns of the observation vector of one robot.

    Attributes:
        size: O, the number of columns.
        action_size: A, the number of actuated joints.
        labels: one name per column, e.g. ``velocity:arm`` or ``applied:arm:2``.
        scales: (O,) what each physical value is multiplied by.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.size = len(spec.observation)
        self.action_size = len(spec.actuated)
        self.labels = [_label(term) for term in spec.observation]
        if len(set(self.labels)) != self.size:
            raise ConfigError(f"{spec.name}: observation repeats a term: {self.labels}")
        self.scales = [term.scale for term in spec.observation]
        order = [joint.name for joint in spec.actuated]
        #: columns holding applied actions: (column, action index, age in ticks)
        self.history = [
            (column, order.index(term.joint), term.age_ticks)
            for column, term in enumerate(spec.observation)
            if term.kind == "applied" and term.joint is not UNSET
        ]
        self._derived = [*self._derivation(spec.policy)]

    def _derivation(self, policy: Policy) -> Iterator[tuple[int, int, float, int]]:
        """Of each column of the history after one answer: the answer's share, the rest's source."""
        where = {(action, age): column for column, action, age in self.history}
        for column, action, age in self.history:
            tick = policy.divisor - age + 1  # of the answer, ``age`` ticks ago
            if tick < 1:
                yield column, action, 0.0, where[action, 1 - tick]
            else:
                yield column, action, policy.share(tick), where[action, 1]

    def column(self, label: str) -> int:
        """Column of ``label``. Raises ConfigError if the observation lacks it."""
        if label not in self.labels:
            raise ConfigError(f"observation has no {label!r}; it has {self.labels}")
        return self.labels.index(label)

    def read(self, obs: Any, label: str) -> Any:
        """Physical value of one term: ``obs`` (..., O) → (...), in rad, rad/s or unit action."""
        return self.reader(label)(obs)

    def reader(self, label: str) -> Callable[[Any], Any]:
        """:meth:`read` for one term. Raises ConfigError at once if the observation lacks it."""
        column = self.column(label)
        scale = self.scales[column]
        return lambda obs: obs[..., column] / scale

    def shift_history(self, obs: Any, applied: Any, following: Any) -> Any:
        """``following`` (..., O) with its action history derived from ``obs`` and ``applied``.

        History is known exactly, so a world model must not guess it. ``applied`` is (..., A) in
        [-1, 1], and ``following`` one answer of the policy after ``obs``: as many ticks as an
        answer lasts. Works on any array-API array; returns a new array.
        """
        xp = array_namespace(following)
        columns = [following[..., i : i + 1] for i in range(self.size)]
        for column, action, share, source in self._derived:
            value = applied[..., action : action + 1]
            if share < 1.0:
                earlier = obs[..., source : source + 1] / self.scales[source]
                value = earlier if share == 0.0 else share * value + (1.0 - share) * earlier
            columns[column] = value * self.scales[column]
        return xp.concat(columns, axis=-1)


class Observer:
    """Builds the observation tick by tick. Holds the last readings and applied actions; no I/O.

    Attributes:
        velocity: one per joint, rad/s.
        vector: (O,) the last observation.
        goal_rad: goal in force of each actuated joint; attached once by whoever sends goals.
        command_m_s: (1,) the speed asked for; attached once by whoever asks.
        tilt_rad: of the body, from level.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._terms = [(term.kind, _source(spec, term)) for term in spec.observation]
        self._layout = Layout(spec)
        self._scales = self._layout.scales
        walks = any(term.kind == "speed" for term in spec.observation)
        self._odometry = LegOdometry(spec, spec.legs) if walks and spec.legs is not UNSET else None
        self._history = {column: (action, age) for column, action, age in self._layout.history}
        depth = max((age for _, _, age in self._layout.history), default=1)
        rest = [0.0] * self._layout.action_size
        self._applied = deque([rest] * depth, maxlen=depth)  # the last one first
        self._previous: list[float] | None = None
        self._previous_s = 0.0
        self.velocity = [0.0] * len(spec.joints)
        self.goal_rad: Sequence[float] = rest
        self.command_m_s: Sequence[float] = [0.0]
        self.tilt_rad = 0.0
        self._readings: dict[str, Sequence[float]] = {"velocity": self.velocity}
        if self._odometry is not None:
            self._readings["speed"] = self._odometry.speed_m_s
        self.vector: FloatArray = np.zeros(self._layout.size, dtype=np.float32)

    def reset(self) -> None:
        """Forget motion and action history, as after power-up."""
        self._previous = None
        self._applied.extend([[0.0] * self._layout.action_size] * len(self._applied))
        if self._odometry is not None:
            self._odometry.reset()

    def observe(
        self, position_rad: list[float], time_s: float, inertial: Sequence[float] = LEVEL
    ) -> FloatArray:
        """Take one reading; velocities are differences over the measured time.

        Args:
            position_rad: one angle per joint of the spec, in order.
            time_s: monotonic time of the reading; must increase.
            inertial: (6,) where gravity points (unit vector), and turn rate, rad/s; body's frame.

        Returns:
            (O,) float32, the same array at every call.
        """
        elapsed_s = self._differentiate(position_rad, time_s)
        self._feel(position_rad, inertial, elapsed_s)
        readings = self._readings
        readings["position"], readings["goal"] = position_rad, self.goal_rad
        readings["gravity"] = readings["gyro"] = inertial
        readings["command"] = self.command_m_s
        for column, (kind, source) in enumerate(self._terms):
            if kind == "applied":
                action, age = self._history[column]
                value = self._applied[age - 1][action]
            elif kind == "cos":
                value = math.cos(position_rad[source])
            elif kind == "sin":
                value = math.sin(position_rad[source])
            else:
                value = readings[kind][source]
            self.vector[column] = value * self._scales[column]
        return self.vector

    def applied(self, action: FloatArray) -> None:
        """Remember what was really sent this tick: ``action`` (A,) in [-1, 1]."""
        self._applied.appendleft(action.tolist())

    def _feel(
        self, position_rad: Sequence[float], inertial: Sequence[float], elapsed_s: float
    ) -> None:
        """What the body as a whole does."""
        self.tilt_rad = math.acos(min(max(-inertial[2], -1.0), 1.0))
        if self._odometry is not None:
            self._odometry.update(position_rad, self.velocity, inertial, elapsed_s)

    def _differentiate(self, position_rad: list[float], time_s: float) -> float:
        """Velocities; the time since the last reading, s, and 0 at the first."""
        if self._previous is None:
            self._previous = list(position_rad)
            self._previous_s = time_s
        elapsed = time_s - self._previous_s
        for joint, angle in enumerate(position_rad):
            moved = wrap(angle - self._previous[joint])
            self.velocity[joint] = moved / elapsed if elapsed > 0.0 else 0.0
            self._previous[joint] = angle
        self._previous_s = time_s
        return elapsed


def _label(term: Term) -> str:
    if term.kind == "applied":
        return f"applied:{term.joint}:{term.age_ticks}"
    if term.kind == "command":
        return "command:speed"
    return f"{term.kind}:{term.axis if term.joint is UNSET else term.joint}"


def _source(spec: RobotSpec, term: Term) -> int:
    """Where among the readings of its kind a term stands."""
    if term.joint is not UNSET:
        index = spec.joint_index(term.joint)
        return spec.actuated.index(spec.joints[index]) if term.kind == "goal" else index
    axis = 0 if term.axis is UNSET else _AXES[term.axis]
    return 3 + axis if term.kind == "gyro" else axis
