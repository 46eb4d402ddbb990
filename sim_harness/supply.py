"""What feeds the motors: a voltage behind a resistance, which falls with what they draw."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mujoco
import numpy as np

from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec


class Supply:
    """The supply of one rig.

    Attributes:
        voltage_v: at the motors, now.
        sags: whether it falls under load at all.
    """

    def __init__(self, spec: RobotSpec, body: Body, model: mujoco.MjModel) -> None:
        joints = spec.actuated
        self._dofs = np.array([int(model.joint(joint.name).dofadr[0]) for joint in joints])
        self._emf_v_s_rad = body.motor_torque_constant_nm_a * np.array([j.gear for j in joints])
        self._winding_ohm, self._line_ohm = body.motor_resistance_ohm, body.supply_resistance_ohm
        self._nominal_v = body.supply_v
        self.sags = self._line_ohm > 0.0
        self.give(None)

    def give(self, voltage_v: float | None) -> None:
        """Without load from now on: this voltage, or again the body's own."""
        self._open_v = self._nominal_v if voltage_v is None else voltage_v
        self.voltage_v = self._open_v

    def load(self, current_a: Sequence[float], data: mujoco.MjData) -> None:
        """Fall by what these motor currents (A,) draw.

        A motor at current I and speed ω draws P = I (R I + kt ω); what it gives back is lost. The
        voltage solves V² - V₀ V + Rₛ P = 0; beyond what the line can deliver it stays at V₀ / 2.
        """
        current = np.asarray(current_a)
        induced_v = self._emf_v_s_rad * data.qvel[self._dofs]
        drawn = current * (self._winding_ohm * current + induced_v)
        power_w = float(np.maximum(drawn, 0.0).sum())
        left = self._open_v**2 - 4.0 * self._line_ohm * power_w
        self.voltage_v = 0.5 * (self._open_v + math.sqrt(max(left, 0.0)))
