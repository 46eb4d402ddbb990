"""Friction that is stronger at rest than in motion: what Coulomb and viscous friction leave out."""

from __future__ import annotations

import mujoco
import numpy as np

from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec


class Stribeck:
    """Adds ``motor_stribeck_nm`` to the motors' Coulomb friction where they stand still.

    It fades with the speed ω of the shaft as ``exp(-(ω / motor_stribeck_rad_s)²)``. Changes the
    model's friction at every step, so a model belongs to one plant.

    Source: Armstrong-Hélouvry, Dupont, Canudas de Wit, Automatica 30(7), 1994, eq. 2.
    """

    def __init__(self, spec: RobotSpec, body: Body, model: mujoco.MjModel) -> None:
        joints = spec.actuated
        self._model = model
        self._dofs = np.array([int(model.joint(joint.name).dofadr[0]) for joint in joints])
        self._gear = np.array([joint.gear for joint in joints])
        self._coulomb_nm = body.motor_friction_nm * self._gear
        self._extra_nm = body.motor_stribeck_nm * self._gear
        self._speed_rad_s = body.motor_stribeck_rad_s

    def apply(self, data: mujoco.MjData) -> None:
        """Set the friction of the next physics step."""
        slowness = self._gear * data.qvel[self._dofs] / self._speed_rad_s
        friction_nm = self._coulomb_nm + self._extra_nm * np.exp(-(slowness**2))
        self._model.dof_frictionloss[self._dofs] = friction_nm


def stribeck_of(spec: RobotSpec, body: Body, model: mujoco.MjModel) -> Stribeck | None:
    """The body's; None if it has none."""
    return Stribeck(spec, body, model) if body.motor_stribeck_nm > 0.0 else None
