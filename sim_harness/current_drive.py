"""Motors behind current regulators: the torque that commanded currents give."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from typing import cast

import mujoco

from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec
from sim_harness.motor import motor_of, torque_nm, unlimited_rad_s
from sim_harness.wire_end import Brake, Demand, Setpoint

NEVER = (0.0, 0.0)
"""Between which no speed lies."""


class CurrentDrive:
    """See :class:`sim_harness.drive.Drive`; demands are currents, or brakes."""

    def __init__(
        self, spec: RobotSpec, body: Body, model: mujoco.MjModel, data: mujoco.MjData
    ) -> None:
        self._motor = motor_of(body)
        dofs = [int(model.joint(joint.name).dofadr[0]) for joint in spec.actuated]
        self._driven = [*zip(dofs, [joint.gear for joint in spec.actuated], strict=True)]
        # Single numbers are read from and written to memory in half the time numpy takes.
        self._velocity = cast("MutableSequence[float]", memoryview(data.qvel))
        self._force = cast("MutableSequence[float]", memoryview(data.qfrc_applied))
        self.release()

    @property
    def current_a(self) -> list[float]:
        """What flows."""
        return [shaft / self._motor.torque_constant_nm_a for shaft in self._shaft_nm]

    def release(self) -> None:
        """No current."""
        self._commanded: list[float | Brake] = [0.0] * len(self._driven)
        self._shaft_nm = [0.0] * len(self._driven)
        self._watch()

    def command(self, demands: Sequence[Demand]) -> None:
        """These currents or brakes."""
        self._commanded = [each for each in demands if not isinstance(each, Setpoint)]
        self._watch()

    def feed(self, voltage_v: float) -> None:
        """The supply gives so much from now on."""
        self._motor = self._motor._replace(supply_v=voltage_v)
        self._watch()

    def apply(self) -> None:
        """Torque at the present speeds; one that does not depend on them is written once."""
        velocity, steady = self._velocity, self._steady
        for index, (dof, gear, low, high) in self._watched:
            speed = gear * velocity[dof]
            if low < speed < high:
                if steady[index]:
                    continue
                steady[index] = True
            else:
                steady[index] = False
            self._force[dof] = gear * self._turn(index, speed)

    def _turn(self, index: int, speed: float) -> float:
        asked = self._commanded[index]
        asked_a = asked.current_a(speed) if isinstance(asked, Brake) else asked
        shaft = self._shaft_nm[index] = torque_nm(self._motor, asked_a, speed)
        return shaft

    def _watch(self) -> None:
        """Other demands or another supply: between which speeds nothing changes from now on."""
        ends = [
            NEVER if isinstance(asked, Brake) else unlimited_rad_s(self._motor, asked)
            for asked in self._commanded
        ]
        joints = zip(self._driven, ends, strict=True)
        self._watched = [*enumerate((*driven, *between) for driven, between in joints)]
        self._steady = [False] * len(self._watched)
