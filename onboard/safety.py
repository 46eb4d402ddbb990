"""The only writer of the motor bus: every command passes the envelope.

Nobody else calls the bus's ``write``, ``power_on``, ``power_off`` or ``cut``. What was really sent
comes back as unit actions, because learning must see what the robot did, not what it was asked.

The loop's thread calls everything but :meth:`Safety.cut`, which is for whoever hears an emergency
stop while the loop does something else (ADR 6). From that moment no torque comes on and nothing but
zero is sent, whatever the loop was about to do, until it obeys an operator's CLEAR.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onboard.bus import Check, out_of_range, watchdog_count
from onboard.estop_latch import EstopLatch
from onboard.modes import Event
from onboard.wire import Wire
from protocol import xl330
from protocol.envelope import Limited, joint_limits, limit_effort
from protocol.errors import BusError
from protocol.robot_spec import Joint, RobotSpec


class Safety:
    """Turns unit actions into motor currents that are allowed.

    Attributes:
        applied: (A,) float32 in [-1, 1]: the action the last command amounted to.
    """

    def __init__(self, spec: RobotSpec, bus: Wire, latch: EstopLatch) -> None:
        self._spec, self._bus, self._latch = spec, bus, latch
        self._armed = watchdog_count(spec)
        self._motors = [_Motor(spec, joint) for joint in spec.actuated]
        self._current_a = [0.0] * len(self._motors)
        self.applied: NDArray[np.float32] = np.zeros(len(self._motors), dtype=np.float32)

    def power_on(self) -> None:
        """Torque on at zero current.

        Raises:
            BusError: a motor does not confirm, or an emergency stop is latched.
        """
        self._at_rest()
        if not self._latch.is_set:
            self._bus.power_on()
        if self._latch.is_set:  # before, or between two of the bus's steps
            self._bus.cut()
            raise BusError("no torque: an emergency stop is latched")

    def cut(self) -> None:
        """Latch, and torque off on every motor at once, unconfirmed.

        Any thread may call it; it never raises and never waits for the loop.
        """
        self._latch.set()
        self._bus.cut()

    def release(self) -> None:
        """An operator has cleared the emergency stop."""
        self._latch.clear()

    def power_off(self) -> list[str]:
        """Torque off on every motor; what did not confirm, one line each. Never raises."""
        self._at_rest()
        return self._bus.power_off()

    def command(
        self,
        action: Sequence[float] | NDArray[np.float32],
        position_rad: Sequence[float],
        velocity_rad_s: Sequence[float],
    ) -> Limited:
        """Send what the envelope leaves of ``action``.

        Args:
            action: (A,) unit actions; anything, NaN included.
            position_rad: one per joint of the robot, as measured this tick.
            velocity_rad_s: likewise.

        Returns:
            Every rule that changed a joint's command.

        Raises:
            BusError: nothing was sent.
        """
        if self._latch.is_set:
            self.coast()
            return Limited.ESTOP
        limited = Limited.NONE
        for index, motor in enumerate(self._motors):
            limited |= motor.limit(float(action[index]), position_rad, velocity_rad_s)
            self._current_a[index] = motor.current_a
        self._bus.write(self._current_a)
        for index, motor in enumerate(self._motors):
            motor.sent()
            self.applied[index] = motor.applied
        return limited

    def coast(self) -> Limited:
        """Send zero current, past the envelope: its barrier is not to push from a stale position.

        Raises:
            BusError: nothing was sent.
        """
        self._bus.write([0.0] * len(self._motors))
        self._at_rest()
        return Limited.NONE

    def judge(self, check: Check) -> tuple[Event, str] | None:
        """What a slow register means: an event and its reason, or nothing."""
        joint, register, value = check
        deaf = self._deafness(check)
        if deaf is not None:
            return Event.MOTOR_SILENT, f"{joint.name}: {deaf}"
        if register is xl330.HARDWARE_ERROR and value:
            return Event.MOTOR_FAULT, f"{joint.name}: hardware error {value:#04x}; power-cycle it"
        problem = None
        if register is xl330.PRESENT_VOLTAGE:
            problem = out_of_range(self._spec, voltage_v=value * xl330.VOLT_PER_COUNT)
        elif register is xl330.PRESENT_TEMPERATURE:
            problem = out_of_range(self._spec, temperature_c=float(value))
        return None if problem is None else (Event.MOTOR_FAULT, f"{joint.name}: {problem}")

    def _deafness(self, check: Check) -> str | None:
        """Why this motor does not do what it is told, if so; power must be on to tell."""
        joint, register, value = check
        if register is xl330.BUS_WATCHDOG and value == xl330.WATCHDOG_TRIPPED:
            return "its watchdog stopped it; commands came late"
        if register is xl330.BUS_WATCHDOG and value != self._armed:
            return f"its watchdog is {value}, not {self._armed}; it has restarted"
        if register is xl330.TORQUE_ENABLE and not value:
            return "its torque is off; it has restarted"
        if register is xl330.GOAL_CURRENT:
            sent = next(motor.goal for motor in self._motors if motor.name == joint.name)
            return None if value == sent else f"its goal is {value} mA, not {sent}; writes are lost"
        return None

    def _at_rest(self) -> None:
        """After power changes the motor holds zero, whatever was sent before."""
        self.applied[:] = 0.0
        for motor in self._motors:
            motor.rest()


class _Motor:
    """One actuated joint: unit action → effort → envelope → whole milliamperes."""

    def __init__(self, spec: RobotSpec, joint: Joint) -> None:
        self.name = joint.name
        self._index = spec.joint_index(joint.name)
        self._limits = joint_limits(spec, joint)
        self._current_max_a = spec.action.current_max_a
        self._nm_per_a = spec.action.torque_constant_nm_a * joint.gear
        self._sign = joint.sign
        self.rest()

    def rest(self) -> None:
        """Nothing was sent since power changed."""
        self._effort_nm = self.current_a = self.applied = 0.0
        self.goal = 0

    def limit(
        self, action: float, position_rad: Sequence[float], velocity_rad_s: Sequence[float]
    ) -> Limited:
        """Compute ``current_a`` in the motor's direction."""
        allowed = limit_effort(
            self._limits,
            asked_nm=action * self._current_max_a * self._nm_per_a,
            previous_nm=self._effort_nm,
            position_rad=position_rad[self._index],
            velocity_rad_s=velocity_rad_s[self._index],
        )
        counts = round(allowed.effort_nm / self._nm_per_a / xl330.AMPERE_PER_COUNT)
        self.current_a = self._sign * counts * xl330.AMPERE_PER_COUNT
        return allowed.limited

    def sent(self) -> None:
        """``current_a`` is on the wire: it is what the next rate limit starts from."""
        joint_a = self._sign * self.current_a
        self.goal = round(self.current_a / xl330.AMPERE_PER_COUNT)
        self._effort_nm = joint_a * self._nm_per_a
        self.applied = min(max(joint_a / self._current_max_a, -1.0), 1.0)


class Run:
    """How often in a row something went wrong, and whether that is too often."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.length = 0
        self.total = 0

    def count(self, wrong: bool) -> bool:
        """Count one tick; True once ``limit`` ticks in a row were wrong."""
        self.length = self.length + 1 if wrong else 0
        self.total += wrong
        return self.length >= self._limit

    def reset(self) -> None:
        """Forget the run, keep the total."""
        self.length = 0
