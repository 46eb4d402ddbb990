"""How the motors of a Dynamixel bus are told what to do: currents, or places."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from onboard.bus import named, permitted
from onboard.line import Line
from onboard.registers import SETUP_TIMEOUT_S, Registers, obtain
from onboard.stops import Stops
from onboard.torque_switch import TorqueSwitch
from protocol import dynamixel as dxl
from protocol import xl330, xl430
from protocol.errors import BusError
from protocol.register import Register
from protocol.robot_spec import CurrentAction, Joint, PositionAction, RobotSpec

_LAST_COUNT = xl330.COUNTS_PER_TURN - 1
_GAINS = struct.Struct("<HHH")
"""D, I and P of the position loop: one block of the control table."""
_ORDERS = struct.Struct("<IIi")
"""Profile acceleration, profile velocity and goal position: likewise."""
_STRANGE_DRIVE = 0x05
"""Bits of the drive mode: reverse mode, time-based profile.

Source: ROBOTIS e-manual, "XL330-M288-T", Drive Mode.
"""


class Goals(Protocol):
    """Sets motors up, gives them torque and makes their packets.

    Attributes:
        register: where a goal stands.
        centre: count of a goal of zero.
    """

    register: Register
    centre: int

    def set_up(self, joint: Joint) -> None:
        """Mode and limits of one motor without torque. Raises BusError."""

    def engage(
        self, measured: Callable[[], Sequence[int]], may: Callable[[], bool]
    ) -> Sequence[float]:
        """Torque on without motion, watchdogs fresh; the goals then in force. Raises BusError.

        Args:
            measured: tells where each actuated joint is, in counts; may raise BusError.
            may: as in :meth:`onboard.bus.Bus.power_on`.
        """
        ...

    def packet(self, goal: Sequence[float]) -> bytes:
        """The sync write of a tick; ``goal`` as in :meth:`onboard.bus.Bus.write`."""
        ...


def goals_for(
    spec: RobotSpec,
    line: Line[dxl.Frame],
    registers: Registers[dxl.Frame],
    switch: TorqueSwitch[dxl.Frame],
    watchdog_count: int,
) -> Goals:
    """What suits the robot's action mode."""
    if isinstance(spec.action, PositionAction):
        return PositionGoals(spec, spec.action, line, registers, switch, watchdog_count)
    return CurrentGoals(spec, spec.action, registers, watchdog_count)


class CurrentGoals:
    """Current mode: zero is rest, and a motor whose watchdog tripped coasts. See :class:`Goals`."""

    register, centre = xl330.GOAL_CURRENT, 0

    def __init__(
        self,
        spec: RobotSpec,
        action: CurrentAction,
        registers: Registers[dxl.Frame],
        watchdog_count: int,
    ) -> None:
        self._motors, self._registers, self._armed = spec.actuated, registers, watchdog_count
        self._limit_count = round(action.current_max_a / xl330.AMPERE_PER_COUNT)

    def set_up(self, joint: Joint) -> None:
        """Current mode and limit, watchdog armed."""
        _accept_frame(self._registers, joint)
        self._registers.set(joint, xl330.OPERATING_MODE, xl330.CURRENT_MODE)
        self._registers.set(joint, xl330.CURRENT_LIMIT, self._limit_count)
        self._arm(joint)

    def engage(
        self, measured: Callable[[], Sequence[int]], may: Callable[[], bool]
    ) -> Sequence[float]:
        """Zero goal, fresh watchdog, torque on; every step read back.

        A motor whose watchdog had tripped is made torque-free first, so nothing can jump.
        """
        for joint in self._motors:
            self._registers.set(joint, xl330.TORQUE_ENABLE, 0)
            self._arm(joint)
            self._registers.set(joint, xl330.TORQUE_ENABLE, 1, may)
        return [0.0] * len(self._motors)

    def packet(self, goal: Sequence[float]) -> bytes:
        """Goal currents, A."""
        counts = (round(current / xl330.AMPERE_PER_COUNT) for current in goal)
        return _sync_write(self.register, self._motors, counts)

    def _arm(self, joint: Joint) -> None:
        """Clear and arm the node's own watchdog over a zero goal."""
        self._registers.set(joint, xl330.BUS_WATCHDOG, 0)
        self._registers.set(joint, xl330.GOAL_CURRENT, 0)
        self._registers.set(joint, xl330.BUS_WATCHDOG, self._armed)


class PositionGoals:
    """Position mode: a goal where the joint is means rest; a tripped watchdog holds it there.

    Torque comes on for all motors at once by sync writes: one by one would take longer than their
    watchdogs allow, and a walker would stand on some legs before it has the others.

    See :class:`Goals`.
    """

    register, centre = xl330.GOAL_POSITION, xl330.CENTRE_COUNT

    def __init__(
        self,
        spec: RobotSpec,
        action: PositionAction,
        line: Line[dxl.Frame],
        registers: Registers[dxl.Frame],
        switch: TorqueSwitch[dxl.Frame],
        watchdog_count: int,
    ) -> None:
        self._motors, self._line, self._registers = spec.actuated, line, registers
        self._switch, self._armed = switch, watchdog_count
        self._stops = Stops(spec, action, _count)
        share = spec.safety.effort_max_nm / action.stall_nm
        self._pwm = xl430.GOAL_PWM.pack(round(share * xl430.FULL_PWM))
        gain = xl430.p_gain_count(action.stiffness_nm_rad, action.stall_nm)
        self._gains = _GAINS.pack(0, 0, gain)

    def set_up(self, joint: Joint) -> None:
        """Position mode, the joint's stops, watchdog armed."""
        _accept_frame(self._registers, joint)
        low, high = self._stops.of(joint)
        self._registers.set(joint, xl330.OPERATING_MODE, xl430.POSITION_MODE)
        self._registers.set(joint, xl330.MIN_POSITION_LIMIT, low)
        self._registers.set(joint, xl330.MAX_POSITION_LIMIT, high)
        self._registers.set(joint, xl330.BUS_WATCHDOG, 0)
        self._registers.set(joint, xl330.BUS_WATCHDOG, self._armed)

    def engage(
        self, measured: Callable[[], Sequence[int]], may: Callable[[], bool]
    ) -> Sequence[float]:
        """Gains, torque limit, goal where each joint is; once these stand, torque on."""
        counts = self._stops.goals(measured())
        orders = [_ORDERS.pack(0, 0, count) for count in counts]
        obtain(lambda: self._drive(orders, may))
        return [(count - xl330.CENTRE_COUNT) * xl330.RAD_PER_COUNT for count in counts]

    def packet(self, goal: Sequence[float]) -> bytes:
        """Goal positions, rad from the encoder's centre, never beyond the turn."""
        return _sync_write(self.register, self._motors, map(_count, goal))

    def _drive(self, orders: Sequence[bytes], may: Callable[[], bool]) -> None:
        """All of it again after a miss: meanwhile a watchdog may have tripped."""
        permitted(may)
        self._order(orders)
        self._switch_on(may)

    def _order(self, orders: Sequence[bytes]) -> None:
        """Whether or not a motor has torque; one whose watchdog tripped takes no goal before."""
        self._write(xl330.BUS_WATCHDOG, b"\0")
        self._write(xl430.POSITION_D_GAIN, self._gains)
        self._write(xl430.GOAL_PWM, self._pwm)
        self._write_each(xl330.PROFILE_ACCELERATION, orders)
        same = {xl430.POSITION_D_GAIN: self._gains, xl430.GOAL_PWM: self._pwm}
        self._confirm([{**same, xl330.PROFILE_ACCELERATION: order} for order in orders], "goal")

    def _switch_on(self, may: Callable[[], bool]) -> None:
        armed = bytes((self._armed,))
        self._switch.on(may)
        self._write(xl330.BUS_WATCHDOG, armed)
        wanted = {xl330.TORQUE_ENABLE: b"\1", xl330.BUS_WATCHDOG: armed}
        self._confirm([wanted] * len(self._motors), "torque")

    def _confirm(self, wanted: Sequence[dict[Register, bytes]], what: str) -> None:
        """Every motor holds these bytes, read in one go. Raises BusError for one that does not."""
        start = min(register.address for register in wanted[0])
        end = max(register.address + len(data) for register, data in wanted[0].items())
        ids = [joint.id for joint in self._motors]
        question = dxl.make_sync_read(start, end - start, ids)
        frames = self._line.ask(question, len(ids), SETUP_TIMEOUT_S)
        for joint, held, frame in zip(self._motors, wanted, frames, strict=True):
            status = dxl.parse_status(frame)
            for register, data in held.items():
                at = register.address - start
                if status.id != joint.id or status.params[at : at + len(data)] != data:
                    raise BusError(f"{named(joint)} did not take its {what}")

    def _write(self, register: Register, data: bytes) -> None:
        self._write_each(register, [data] * len(self._motors))

    def _write_each(self, register: Register, data: Sequence[bytes]) -> None:
        pairs = [(joint.id, each) for joint, each in zip(self._motors, data, strict=True)]
        self._line.send(dxl.make_sync_write(register.address, len(data[0]), pairs))


def _sync_write(register: Register, motors: Sequence[Joint], counts: Iterable[int]) -> bytes:
    pairs = [(joint.id, register.pack(count)) for joint, count in zip(motors, counts, strict=True)]
    return dxl.make_sync_write(register.address, register.size, pairs)


def _count(goal_rad: float) -> int:
    """Register value of a goal in the motor's direction."""
    count = xl330.CENTRE_COUNT + round(goal_rad / xl330.RAD_PER_COUNT)
    return min(max(count, 0), _LAST_COUNT)


def _accept_frame(registers: Registers[dxl.Frame], joint: Joint) -> None:
    """Raises BusError for a motor that counts otherwise than the robot file thinks."""
    mode = registers.get(joint, xl330.DRIVE_MODE)
    if mode & _STRANGE_DRIVE:
        raise BusError(
            f"{named(joint)}: its drive mode is {mode:#04x}; clear the bits for reverse mode (1) "
            "and time-based profiles (4), and let the joint's sign say which way it turns"
        )
    offset = registers.get(joint, xl330.HOMING_OFFSET)
    if offset:
        raise BusError(
            f"{named(joint)}: its homing offset is {offset}; write 0 there and the joint's "
            "zero into offset_rad, so that one place says where it is"
        )
