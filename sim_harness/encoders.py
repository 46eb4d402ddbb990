"""What the encoders at the output shafts see of a MuJoCo rig."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from protocol.robot_spec import Joint

Array = NDArray[np.float64]
PLAY = "{}_play"
"""Name of the hinge that is the play of a joint's gear, where the model has one."""


class Encoders:
    """Angles and speeds of J links: those of their motors plus the play in between."""

    def __init__(self, model: mujoco.MjModel, joints: Sequence[Joint]) -> None:
        self._qpos = np.array([int(model.joint(joint.name).qposadr[0]) for joint in joints])
        self._dofs = np.array([int(model.joint(joint.name).dofadr[0]) for joint in joints])
        names = {model.joint(index).name for index in range(model.njnt)}
        plays = [PLAY.format(joint.name) for joint in joints]
        loose = [index for index, play in enumerate(plays) if play in names]
        self._loose = np.array(loose, dtype=int)
        found = [model.joint(plays[index]) for index in loose]
        self._play_qpos = np.array([int(play.qposadr[0]) for play in found], dtype=int)
        self._play_dofs = np.array([int(play.dofadr[0]) for play in found], dtype=int)

    def angle_rad(self, data: mujoco.MjData) -> Array:
        """(J,) angles of the links."""
        angle: Array = data.qpos[self._qpos]
        if self._loose.size:
            angle[self._loose] += data.qpos[self._play_qpos]
        return angle

    def velocity_rad_s(self, data: mujoco.MjData) -> Array:
        """(J,) speeds of the links."""
        velocity: Array = data.qvel[self._dofs]
        if self._loose.size:
            velocity[self._loose] += data.qvel[self._play_dofs]
        return velocity
