"""Motors behind position loops, at the physics rate: setpoints in, torque out.

A loop asks for a share of the supply in proportion to the distance between goal and encoder, cut at
the torque limit; it leads the goal to where it was told at a limited speed. The motor behind it is
a DC motor on that voltage; without torque its leads are open. Source: Rhoban bam,
``feetech_sts3215_7_4V`` (identified on hardware, gain measured with an oscilloscope).
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec
from sim_harness.encoders import Encoders
from sim_harness.wire_end import Demand, Setpoint

Array = NDArray[np.float64]


class ServoDrive:
    """See :class:`sim_harness.drive.Drive`; demands are setpoints. Arrays are (A,)."""

    def __init__(self, spec: RobotSpec, body: Body, model: mujoco.MjModel) -> None:
        joints = spec.actuated
        self._encoders = Encoders(model, joints)
        self._dofs = np.array([int(model.joint(joint.name).dofadr[0]) for joint in joints])
        gear = self._gear = np.array([joint.gear for joint in joints])
        self._gain_1_rad = body.servo_gain_1_rad * gear
        self._fastest_rad_s = body.servo_velocity_max_rad_s / gear
        self._step_s = 1.0 / spec.plant.physics_hz
        self._kt_nm_a, self._supply_v = body.motor_torque_constant_nm_a, body.supply_v
        self._resistance_ohm = body.motor_resistance_ohm
        self._goal_rad, self._lead_rad = np.zeros(len(joints)), np.zeros(len(joints))
        self._duty_max, self._reach_rad = np.zeros(len(joints)), np.zeros(len(joints))
        self.release()

    def release(self) -> None:
        """No torque."""
        self._duty_max[:] = 0.0
        self.current_a = [0.0] * len(self._dofs)

    def command(self, demands: Sequence[Demand], data: mujoco.MjData) -> None:
        """Follow these setpoints; a servo that had no torque starts from where it is."""
        setpoints = [each for each in demands if isinstance(each, Setpoint)]
        idle = self._duty_max == 0.0
        self._lead_rad[idle] = self._encoders.angle_rad(data)[idle]
        self._goal_rad[:] = [setpoint.goal_rad for setpoint in setpoints]
        self._duty_max[:] = [setpoint.duty_max for setpoint in setpoints]
        asked_rad_s = np.array([setpoint.velocity_max_rad_s or np.inf for setpoint in setpoints])
        self._reach_rad[:] = np.minimum(asked_rad_s, self._fastest_rad_s) * self._step_s

    def apply(self, data: mujoco.MjData) -> None:
        """Torque at the present angles and speeds."""
        self._lead_rad += _within(self._goal_rad - self._lead_rad, self._reach_rad)
        error_rad = self._lead_rad - self._encoders.angle_rad(data)
        duty = _within(self._gain_1_rad * error_rad, self._duty_max)
        shaft_rad_s = self._gear * data.qvel[self._dofs]
        voltage_v = duty * self._supply_v - self._kt_nm_a * shaft_rad_s
        current_a = np.where(self._duty_max > 0.0, voltage_v / self._resistance_ohm, 0.0)
        data.qfrc_applied[self._dofs] = self._gear * self._kt_nm_a * current_a
        self.current_a = current_a.tolist()


def _within(values: Array, limit: Array) -> Array:
    """``values`` cut at ±``limit``; a third of the time of ``numpy.clip``."""
    cut: Array = np.minimum(np.maximum(values, -limit), limit)
    return cut
