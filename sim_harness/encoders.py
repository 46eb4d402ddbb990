"""What the encoders at the output shafts see of a MuJoCo rig."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import mujoco
import numpy as np
from numpy.typing import NDArray

from protocol.robot_spec import Joint

Array = NDArray[np.float64]
PLAY = "{}_play"
"""Name of the hinge that is the play of a joint's gear, where the model has one."""


class Encoders:
    """Angles and speeds of J links: those of their motors plus the play in between."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, joints: Sequence[Joint]) -> None:
        names = {model.joint(index).name for index in range(model.njnt)}
        motors = [joint.name for joint in joints]
        self._angle = Window(data.qpos, [int(model.joint(m).qposadr[0]) for m in motors])
        self._speed = Window(data.qvel, [int(model.joint(m).dofadr[0]) for m in motors])
        loose = [index for index, motor in enumerate(motors) if PLAY.format(motor) in names]
        plays = [model.joint(PLAY.format(motors[index])) for index in loose]
        self._loose = np.array(loose, dtype=int)
        self._play_angle = Window(data.qpos, [int(play.qposadr[0]) for play in plays])
        self._play_speed = Window(data.qvel, [int(play.dofadr[0]) for play in plays])

    def angle_rad(self) -> Array:
        """(J,) angles of the links; read at once, it may be the simulation's own memory."""
        return self._with_play(self._angle, self._play_angle)

    def velocity_rad_s(self) -> Array:
        """(J,) speeds of the links; likewise."""
        return self._with_play(self._speed, self._play_speed)

    def _with_play(self, motor: Window, play: Window) -> Array:
        if not self._loose.size:
            return motor.values()
        if self._loose.size == motor.size:
            return motor.values() + play.values()
        values = motor.values().copy()
        values[self._loose] += play.values()
        return values


class Window:
    """Some of a long vector's numbers. Evenly spaced ones are seen where they are, at no cost."""

    def __init__(self, vector: Array, places: Sequence[int]) -> None:
        self._vector, self._places = vector, np.array(places, dtype=int)
        self.size = len(places)
        self._view: Array | None = None
        strides = {after - before for before, after in pairwise(places)}
        if places and len(strides) <= 1 and min(strides, default=1) > 0:
            self._view = vector[places[0] : places[-1] + 1 : min(strides, default=1)]

    def values(self) -> Array:
        """The numbers now; not to be written to, and not to be kept."""
        if self._view is not None:
            return self._view
        found: Array = self._vector[self._places]
        return found

    def set(self, values: Array) -> None:
        """Put numbers there."""
        if self._view is not None:
            self._view[:] = values
        else:
            self._vector[self._places] = values
