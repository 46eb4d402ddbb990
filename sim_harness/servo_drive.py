"""Motors behind position loops, at the physics rate: setpoints in, torque out.

A loop asks for a share of the supply in proportion to the distance between goal and encoder, cut at
the torque limit; it leads the goal to where it was told at a limited speed. The motor behind it is
a DC motor on that voltage, up to its largest current; without torque its leads are open.
Source: Rhoban bam,
``feetech_sts3215_7_4V`` (identified on hardware, gain measured with an oscilloscope).
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec
from sim_harness.encoders import Encoders, Window
from sim_harness.wire_end import Demand, Setpoint

Array = NDArray[np.float64]


class ServoDrive:
    """See :class:`sim_harness.drive.Drive`; demands are setpoints. Arrays are (A,)."""

    def __init__(
        self, spec: RobotSpec, body: Body, model: mujoco.MjModel, data: mujoco.MjData
    ) -> None:
        joints, size = spec.actuated, len(spec.actuated)
        self._encoders = Encoders(model, data, joints)
        dofs = [int(model.joint(joint.name).dofadr[0]) for joint in joints]
        self._speed, self._force = Window(data.qvel, dofs), Window(data.qfrc_applied, dofs)
        gear = np.array([joint.gear for joint in joints])
        self._gain_1_rad = body.servo_gain_1_rad * gear
        self._nm_a = gear * body.motor_torque_constant_nm_a
        self._fastest_rad_s = body.servo_velocity_max_rad_s / gear
        self._step_s = 1.0 / spec.plant.physics_hz
        self._supply_v, self._resistance_ohm = body.supply_v, body.motor_resistance_ohm
        self._induced_nm_s = self._nm_a**2 / self._resistance_ohm
        self._most_nm = self._nm_a * body.motor_current_max_a
        self._goal_rad, self._lead_rad, self._reach_rad = (np.zeros(size) for _ in range(3))
        self._duty_max, self._torque_nm, self._induced_nm = (np.zeros(size) for _ in range(3))
        self._leading_steps = 0
        self._limit()

    @property
    def current_a(self) -> list[float]:
        """What flows."""
        current: list[float] = (self._torque_nm / self._nm_a).tolist()
        return current

    def release(self) -> None:
        """No torque."""
        self._duty_max[:] = 0.0
        self._limit()

    def command(self, demands: Sequence[Demand]) -> None:
        """Follow these setpoints; a servo that had no torque starts from where it is."""
        setpoints = [each for each in demands if isinstance(each, Setpoint)]
        idle = self._duty_max == 0.0
        self._lead_rad[idle] = self._encoders.angle_rad()[idle]
        self._goal_rad[:] = [setpoint.goal_rad for setpoint in setpoints]
        self._duty_max[:] = [setpoint.duty_max for setpoint in setpoints]
        asked_rad_s = np.array([setpoint.velocity_max_rad_s or np.inf for setpoint in setpoints])
        self._reach_rad[:] = np.minimum(asked_rad_s, self._fastest_rad_s) * self._step_s
        left = np.abs(self._goal_rad - self._lead_rad)
        self._leading_steps = int(np.ceil(left / self._reach_rad).max())
        self._limit()

    def feed(self, voltage_v: float) -> None:
        """The supply gives so much from now on."""
        self._supply_v = voltage_v
        self._limit()

    def apply(self) -> None:
        """Torque at the present angles and speeds."""
        if not self._powered:
            return
        if self._leading_steps:
            self._lead()
        torque_nm, induced_nm = self._torque_nm, self._induced_nm
        np.subtract(self._lead_rad, self._encoders.angle_rad(), out=torque_nm)
        np.multiply(torque_nm, self._stiffness_nm_rad, out=torque_nm)
        _cut(torque_nm, *self._duty_nm)
        np.multiply(self._induced_nm_s, self._speed.values(), out=induced_nm)
        np.subtract(torque_nm, induced_nm, out=torque_nm)
        if self._regulated:
            _cut(torque_nm, *self._limit_nm)
        self._force.set(torque_nm)

    def _limit(self) -> None:
        """What depends on duty and supply; without duty a motor's leads are open.

        Twice the stall torque is what a motor at full speed brakes with, on all of the supply the
        other way: a limit that lies higher is none.
        """
        stall_nm = self._nm_a * self._supply_v / self._resistance_ohm
        self._stiffness_nm_rad = self._gain_1_rad * stall_nm
        duty_nm = self._duty_max * stall_nm
        most_nm = np.where(self._duty_max > 0.0, self._most_nm, 0.0)
        self._duty_nm, self._limit_nm = (-duty_nm, duty_nm), (-most_nm, most_nm)
        self._powered = bool(most_nm.any())
        self._regulated = bool((most_nm < 2.0 * stall_nm).any())
        if not self._powered:
            self._torque_nm[:] = 0.0
            self._force.set(self._torque_nm)

    def _lead(self) -> None:
        """The goals come closer to where they were told."""
        self._leading_steps -= 1
        if self._leading_steps:
            step_rad = self._goal_rad - self._lead_rad
            _cut(step_rad, -self._reach_rad, self._reach_rad)
            self._lead_rad += step_rad
        else:
            self._lead_rad[:] = self._goal_rad


def _cut(values: Array, least: Array, most: Array) -> None:
    """Cut ``values`` in place; a third of the time of ``numpy.clip``."""
    np.minimum(np.maximum(values, least, out=values), most, out=values)
