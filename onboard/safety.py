"""The only writer of the motor bus: every command passes the envelope.

Nobody else calls the bus's ``write``, ``power_on``, ``power_off…`` or ``cut``. What was really sent
comes back as unit actions, because learning must see what the robot did, not what it was asked.

The loop's thread calls everything but :meth:`Safety.cut`, which is for whoever hears an emergency
stop while the loop does something else (ADR 6). From that moment no torque comes on and nothing but
zero is sent, whatever the loop was about to do, until it obeys an operator's CLEAR. Position mode
knows no zero: there the torque is cut again instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onboard.bus import TRIPPED, Check, Fact, out_of_range, permitted
from onboard.estop_latch import EstopLatch
from onboard.modes import Event
from onboard.wire import Wire
from protocol.actuation import motor_of
from protocol.envelope import Limited
from protocol.robot_spec import PositionAction, RobotSpec


class Safety:
    """Turns unit actions into goals of the motors that are allowed.

    Attributes:
        applied: (A,) float32 in [-1, 1]: the action the last command amounted to.
        goal_rad: where the motors were sent, in position mode; zeros in current mode.
    """

    def __init__(self, spec: RobotSpec, bus: Wire, latch: EstopLatch) -> None:
        self._spec, self._bus, self._latch = spec, bus, latch
        self._motors = [motor_of(spec, joint) for joint in spec.actuated]
        self._names = [joint.name for joint in spec.actuated]
        self._indices = [spec.joint_index(name) for name in self._names]
        self._holds = isinstance(spec.action, PositionAction)
        self._goal = [0.0] * len(self._motors)
        self._still: NDArray[np.float32] = np.zeros(len(self._motors), dtype=np.float32)
        self.applied: NDArray[np.float32] = np.zeros(len(self._motors), dtype=np.float32)
        self.goal_rad = [motor.goal_rad for motor in self._motors]

    @property
    def still(self) -> NDArray[np.float32]:
        """(A,) unit actions that ask for no motion; the same array at every call."""
        for index, motor in enumerate(self._motors):
            self._still[index] = motor.still
        return self._still

    def power_on(self) -> None:
        """Torque on without motion: at zero current, or with every joint held where it is.

        Raises:
            BusError: a motor does not confirm, or an emergency stop is latched.
        """
        self._at_rest()
        try:
            permitted(self._may_move)
            goals = self._bus.power_on(self._may_move)
            permitted(self._may_move)
        finally:
            if self._latch.is_set:  # before, or between two of the bus's steps, however it ended
                self._bus.cut()
        self._adopt(goals)

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
        """Torque off on every motor; what did not confirm, one line each. Never raises.

        Takes longer than a tick if answers are lost.
        """
        self._at_rest()
        return self._bus.power_off()

    def power_off_step(self, anew: bool) -> list[str]:
        """Torque off on every motor, asked once; what has not confirmed yet. Never raises.

        Args:
            anew: as in :meth:`onboard.bus.Bus.power_off_step`.
        """
        self._at_rest()
        return self._bus.power_off_step(anew)

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
            joint = self._indices[index]
            reasons = motor.limit(float(action[index]), position_rad[joint], velocity_rad_s[joint])
            if reasons:  # seldom, and "or" takes longer than all the rest
                limited |= reasons
            self._goal[index] = motor.goal
        self._bus.write(self._goal)
        for index, motor in enumerate(self._motors):
            motor.sent()
            self.applied[index], self.goal_rad[index] = motor.applied, motor.goal_rad
        return limited

    def coast(self) -> Limited:
        """Send what needs no position, past the envelope: its barrier is not to push blindly.

        That is zero current, or the goal in force once more.

        Raises:
            BusError: nothing was sent.
        """
        if not self._holds:
            self._bus.write([0.0] * len(self._motors))
            self._at_rest()
        elif self._latch.is_set:
            self._bus.cut()
        else:
            goals = [motor.goal for motor in self._motors]
            self._bus.write(goals)
            self._adopt(goals)
        return Limited.NONE

    def resume(self, goal_rad: Sequence[float]) -> None:
        """As if these goals had been sent last: to go on where a recording stands."""
        for index, (motor, angle_rad) in enumerate(zip(self._motors, goal_rad, strict=True)):
            motor.hold(angle_rad)
            self.applied[index], self.goal_rad[index] = motor.applied, motor.goal_rad

    def judge(self, check: Check) -> tuple[Event, str] | None:
        """What a fact means: an event and its reason, or nothing."""
        joint, fact, value = check
        deaf = self._deafness(check)
        if deaf is not None:
            return Event.MOTOR_SILENT, f"{joint.name}: {deaf}"
        if fact is Fact.FAULT and value:
            error = f"hardware error {int(value):#04x}; power-cycle it"
            return Event.MOTOR_FAULT, f"{joint.name}: {error}"
        problem = None
        if fact is Fact.VOLTAGE:
            problem = out_of_range(self._spec, voltage_v=value)
        elif fact is Fact.TEMPERATURE:
            problem = out_of_range(self._spec, temperature_c=value)
        return None if problem is None else (Event.MOTOR_FAULT, f"{joint.name}: {problem}")

    def _deafness(self, check: Check) -> str | None:
        """Why this motor does not do what it is told, if so; power must be on to tell."""
        joint, fact, value = check
        if fact is Fact.WATCHDOG:
            return self._awake(value)
        if fact is Fact.TORQUE and not value:
            return "its torque is off; it has restarted"
        if fact is Fact.GOAL:
            motor = self._motors[self._names.index(joint.name)]
            sent = f"{motor.count} {motor.unit}"
            return (
                None
                if value == motor.count
                else f"its goal is {value:g}, not {sent}; writes are lost"
            )
        return None

    def _awake(self, silence_s: float) -> str | None:
        if silence_s == TRIPPED:
            stopped = "its watchdog stopped it" if self._bus.watchdog_s else "it was left alone"
            return f"{stopped}; commands came late"
        armed_ms, told_ms = round(1e3 * self._bus.watchdog_s), round(1e3 * silence_s)
        if told_ms != armed_ms:
            return f"its watchdog is {told_ms} ms, not {armed_ms} ms; it has restarted"
        return None

    def _may_move(self) -> bool:
        return not self._latch.is_set

    def _adopt(self, goals: Sequence[float]) -> None:
        """The motors follow these goals, which nobody asked for."""
        for index, (motor, goal) in enumerate(zip(self._motors, goals, strict=True)):
            motor.adopt(goal)
            self.applied[index], self.goal_rad[index] = motor.applied, motor.goal_rad

    def _at_rest(self) -> None:
        """Without power, or before it: zero current flows, whatever was sent before."""
        if not self._holds:
            self._adopt([0.0] * len(self._motors))


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
