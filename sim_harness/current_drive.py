"""Motors behind current regulators: the torque that commanded currents give."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco

from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec
from sim_harness.motor import motor_of, torque_nm
from sim_harness.wire_end import Brake, Demand, Setpoint


class CurrentDrive:
    """See :class:`sim_harness.drive.Drive`; demands are currents, or brakes."""

    def __init__(self, spec: RobotSpec, body: Body, model: mujoco.MjModel) -> None:
        self._motor = motor_of(body)
        self._driven = [
            (int(model.joint(joint.name).dofadr[0]), joint.gear) for joint in spec.actuated
        ]
        self.release()

    def release(self) -> None:
        """No current."""
        self._commanded: list[float | Brake] = [0.0] * len(self._driven)
        self.current_a = [0.0] * len(self._driven)

    def command(self, demands: Sequence[Demand], data: mujoco.MjData) -> None:
        """These currents or brakes."""
        self._commanded = [each for each in demands if not isinstance(each, Setpoint)]

    def apply(self, data: mujoco.MjData) -> None:
        """Torque at the present speeds."""
        velocity, force, motor = data.qvel, data.qfrc_applied, self._motor
        for index, (dof, gear) in enumerate(self._driven):
            asked, speed = self._commanded[index], gear * float(velocity[dof])
            asked_a = asked.current_a(speed) if isinstance(asked, Brake) else asked
            shaft = torque_nm(motor, asked_a, speed)
            self.current_a[index] = shaft / motor.torque_constant_nm_a
            force[dof] = gear * shaft
