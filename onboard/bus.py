"""The motor bus as the control loop sees it: one read and one write per tick, in SI units.

Raises only BusError. Reading is one (fast) sync read over all joints, writing one sync write over
the actuated ones; set-up, power and check-ups are plain reads and writes with verified answers.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from onboard.serial_port import Port
from protocol import dynamixel as dxl
from protocol import xl330
from protocol.errors import BusError, WireError
from protocol.robot_spec import Joint, RobotSpec
from protocol.xl330 import Register

SETUP_TIMEOUT_S = 0.05
"""Deadline of set-up transactions; an EEPROM write may take several milliseconds."""
SETUP_TRIES = 3

CHECKED = (
    xl330.HARDWARE_ERROR,
    xl330.BUS_WATCHDOG,
    xl330.PRESENT_VOLTAGE,
    xl330.TORQUE_ENABLE,
    xl330.PRESENT_TEMPERATURE,
    xl330.GOAL_CURRENT,
)

_READ_FROM, _READ_BYTES = xl330.PRESENT_CURRENT.address, 10
_PRESENT = struct.Struct("<hii")
_GOAL = struct.Struct("<h")


class Node(NamedTuple):
    """What a joint's node said about itself."""

    name: str
    id: int
    model_number: int
    firmware: int
    voltage_v: float
    temperature_c: float


class Check(NamedTuple):
    """One register of one node, read between the ticks' sync reads."""

    joint: Joint
    register: Register
    value: int


class Bus:
    """Driver of one Dynamixel bus.

    Attributes:
        position_count: last reading as it came, one per joint of the robot.
        velocity_count: likewise.
        current_count: likewise.
        position_rad: the same in SI units and the joint's frame.
        velocity_rad_s: likewise, as the node itself measures it.
        current_a: likewise, but in the motor's own direction.
        alert: a node set its alert bit in the last reading.
        fast: answers come in one packet.
    """

    def __init__(
        self, spec: RobotSpec, open_port: Callable[[], Port], clock_s: Callable[[], float]
    ) -> None:
        self._spec, self._open_port, self._clock_s = spec, open_port, clock_s
        self._joints = spec.joints
        self._motors = spec.actuated
        self._ids = [joint.id for joint in spec.joints]
        self._motor_ids = [joint.id for joint in self._motors]
        self._sync_read = dxl.make_sync_read(_READ_FROM, _READ_BYTES, self._ids)
        self._fast_read = dxl.make_fast_sync_read(_READ_FROM, _READ_BYTES, self._ids)
        off = [(node, xl330.TORQUE_ENABLE.pack(0)) for node in self._motor_ids]
        self._torque_off = dxl.make_sync_write(xl330.TORQUE_ENABLE.address, 1, off)
        self._watchdog = watchdog_count(spec)
        self._parser = dxl.Parser()
        self._port: Port | None = None
        self._departure = threading.Lock()
        self._checked = -1
        self.fast = False
        self.alert = False
        self.position_count = [0] * len(self._joints)
        self.velocity_count = [0] * len(self._joints)
        self.current_count = [0] * len(self._joints)
        self.position_rad = [0.0] * len(self._joints)
        self.velocity_rad_s = [0.0] * len(self._joints)
        self.current_a = [0.0] * len(self._joints)

    def connect(self) -> list[Node]:
        """Open the line, make every motor torque-free, then check and set up every node.

        Moves nothing. Leaves torque off, current mode, no return delay, watchdog armed.

        Returns:
            One :class:`Node` per joint.

        Raises:
            BusError: naming the joint and what is wrong with it.
        """
        self.close()
        self._port = self._open_port()
        failures = self.power_off()
        if failures:
            raise BusError("; ".join(failures))
        nodes = [self._identify(joint) for joint in self._joints]
        for joint in self._motors:
            self._set_up_motor(joint)
            self._arm(joint)
        self.fast = min(node.firmware for node in nodes) >= xl330.FAST_SYNC_READ_FIRMWARE
        self._first_read()
        return nodes

    def close(self) -> None:
        """Give the line back."""
        with self._departure:
            port, self._port = self._port, None
        if port is not None:
            port.close()

    def read(self) -> None:
        """One sync read into the attributes. Raises BusError unless every joint answers in time."""
        answers = self._read_fast() if self.fast else self._read_each()
        if len(answers) != len(self._joints):
            raise BusError(f"{len(answers)} of {len(self._joints)} joints answered")
        for joint, answer in enumerate(answers):
            self._take(joint, answer)
        self.alert = any(answer.alert for answer in answers)

    def convert(self, index: int, position: int, velocity: int, current: int) -> None:
        """Take the reading of joint ``index``, in counts, into the attributes."""
        joint = self._joints[index]
        self.position_count[index] = position
        self.velocity_count[index] = velocity
        self.current_count[index] = current
        direction = joint.sign / joint.gear
        turned_rad = (position - xl330.CENTRE_COUNT) * xl330.RAD_PER_COUNT
        self.position_rad[index] = direction * turned_rad + joint.offset_rad
        self.velocity_rad_s[index] = direction * velocity * xl330.RAD_S_PER_COUNT
        self.current_a[index] = current * xl330.AMPERE_PER_COUNT

    def write(self, current_a: Sequence[float]) -> None:
        """One sync write of goal currents, one per actuated joint, in the motor's direction."""
        goals = [
            (node, _GOAL.pack(round(current / xl330.AMPERE_PER_COUNT)))
            for node, current in zip(self._motor_ids, current_a, strict=True)
        ]
        goal = xl330.GOAL_CURRENT
        self._line().write(dxl.make_sync_write(goal.address, goal.size, goals))

    def power_on(self) -> None:
        """Zero goal, fresh watchdog, torque on; every step read back.

        A motor whose watchdog had tripped is made torque-free first, so nothing can jump.
        """
        for joint in self._motors:
            self._set(joint, xl330.TORQUE_ENABLE, 0)
            self._arm(joint)
            self._set(joint, xl330.TORQUE_ENABLE, 1)

    def power_off(self) -> list[str]:
        """Torque off on every motor, whatever the others do; never raises.

        Returns:
            One line per motor that did not confirm.
        """
        failures = []
        self.cut()  # unconfirmed, but every motor hears it before anything can wait
        for joint in self._motors:
            try:
                self._set(joint, xl330.TORQUE_ENABLE, 0)
            except BusError as error:
                failures.append(f"{joint.name}: torque may still be on ({error})")
        return failures

    def cut(self) -> None:
        """Torque off on every motor in one packet, unconfirmed; never raises and never waits.

        The only method that any thread may call at any moment. The kernel writes a packet as a
        whole, so it cannot tear one of the loop's apart; it may spoil an answer, which is a miss.
        """
        with self._departure, suppress(BusError):  # the line must not be given back meanwhile
            self._line().write(self._torque_off)

    def check_next(self) -> Check:
        """Read the next of :data:`CHECKED`, motor by motor."""
        self._checked = (self._checked + 1) % (len(self._motors) * len(CHECKED))
        motor, index = divmod(self._checked, len(CHECKED))
        return self._check(self._motors[motor], CHECKED[index])

    def check_nodes(self, register: Register) -> list[Check]:
        """Read one register of every node, with or without a motor."""
        return [self._check(joint, register) for joint in self._joints]

    def check_motors(self, register: Register) -> list[Check]:
        """Read one register of every motor."""
        return [self._check(joint, register) for joint in self._motors]

    def _check(self, joint: Joint, register: Register) -> Check:
        packet = dxl.make_read(joint.id, register.address, register.size)
        (frame,) = self._ask(packet, 1, self._spec.bus.read_timeout_s)
        status = dxl.parse_status(frame)
        if status.id != joint.id or status.error or len(status.params) != register.size:
            raise BusError(f"{_named(joint)}: no answer to a read of {register.name}")
        return Check(joint, register, register.unpack(status.params))

    def _first_read(self) -> None:
        for _ in range(SETUP_TRIES - 1):
            with suppress(BusError):
                self.read()
                return
        self.read()

    def _identify(self, joint: Joint) -> Node:
        answer = self._answer(joint, dxl.make_ping(joint.id), 3)
        model = int.from_bytes(answer[:2], "little")
        if model != xl330.MODEL_NUMBERS[joint.model]:
            raise BusError(f"{_named(joint)} has model number {model}, not that of {joint.model}")
        error = self._get(joint, xl330.HARDWARE_ERROR)
        if error:
            raise BusError(f"{_named(joint)} reports hardware error {error:#04x}; power-cycle it")
        self._set(joint, xl330.RETURN_DELAY, 0)
        voltage_v, temperature_c = self._supply(joint)
        return Node(joint.name, joint.id, model, answer[2], voltage_v, temperature_c)

    def _set_up_motor(self, joint: Joint) -> None:
        problem = out_of_range(self._spec, *self._supply(joint))
        if problem:
            raise BusError(f"{_named(joint)}: {problem}")
        limit = round(self._spec.action.current_max_a / xl330.AMPERE_PER_COUNT)
        self._set(joint, xl330.OPERATING_MODE, xl330.CURRENT_MODE)
        self._set(joint, xl330.CURRENT_LIMIT, limit)

    def _arm(self, joint: Joint) -> None:
        """Clear and arm the node's own watchdog over a zero goal."""
        self._set(joint, xl330.BUS_WATCHDOG, 0)
        self._set(joint, xl330.GOAL_CURRENT, 0)
        self._set(joint, xl330.BUS_WATCHDOG, self._watchdog)

    def _supply(self, joint: Joint) -> tuple[float, float]:
        voltage = self._get(joint, xl330.PRESENT_VOLTAGE) * xl330.VOLT_PER_COUNT
        return voltage, float(self._get(joint, xl330.PRESENT_TEMPERATURE))

    def _set(self, joint: Joint, register: Register, value: int) -> None:
        """Make a register hold ``value``; EEPROM is written only if it differs."""
        if register.address < xl330.TORQUE_ENABLE.address and self._get(joint, register) == value:
            return
        packet = dxl.make_write(joint.id, register.address, register.pack(value))
        self._answer(joint, packet, 0)
        if self._get(joint, register) != value:
            raise BusError(f"{_named(joint)}: {register.name} did not take the value {value}")

    def _get(self, joint: Joint, register: Register) -> int:
        packet = dxl.make_read(joint.id, register.address, register.size)
        return register.unpack(self._answer(joint, packet, register.size))

    def _answer(self, joint: Joint, packet: bytes, size: int) -> bytes:
        """Data of one node's answer, asking again if it is lost."""
        for attempt in range(SETUP_TRIES):
            try:
                (frame,) = self._ask(packet, 1, SETUP_TIMEOUT_S)
                status = dxl.parse_status(frame)
            except BusError as error:
                if attempt + 1 == SETUP_TRIES:
                    raise BusError(f"{_named(joint)} does not answer ({error})") from error
                continue
            if status.error:
                raise BusError(f"{_named(joint)} refused: {_error_name(status.error)}")
            if status.id == joint.id and len(status.params) == size:
                return status.params
        raise BusError(f"{_named(joint)}: a different node answers; ids must be unique")

    def _ask(self, packet: bytes, count: int, timeout_s: float) -> list[dxl.Frame]:
        """Send, then collect ``count`` status packets until the deadline."""
        port = self._line()
        port.discard_input()
        self._parser.reset()
        port.write(packet)
        deadline_s = self._clock_s() + timeout_s
        frames: list[dxl.Frame] = []
        remaining_s = timeout_s
        while len(frames) < count and remaining_s > 0.0:
            remaining_s = deadline_s - self._clock_s()
            data = port.read(max(remaining_s, 0.0))  # a last look, should we have been asleep
            for frame in self._parser.feed(data):
                if frame.instruction == dxl.Instruction.STATUS and frame.params:
                    frames.append(frame)  # anything else is an adapter's echo of our own packet
        if len(frames) < count:
            raise BusError(f"{len(frames)} of {count} answers within {timeout_s * 1e3:.0f} ms")
        return frames[:count]

    def _read_fast(self) -> list[dxl.Status]:
        (frame,) = self._ask(self._fast_read, 1, self._spec.bus.read_timeout_s)
        try:
            return dxl.parse_fast_status(frame, _READ_BYTES)
        except WireError as error:
            raise BusError(f"fast sync read: {error}") from error

    def _read_each(self) -> list[dxl.Status]:
        frames = self._ask(self._sync_read, len(self._ids), self._spec.bus.read_timeout_s)
        return [dxl.parse_status(frame) for frame in frames]

    def _take(self, index: int, answer: dxl.Status) -> None:
        joint = self._joints[index]
        if answer.id != joint.id or answer.error or len(answer.params) != _READ_BYTES:
            reason = _error_name(answer.error)
            raise BusError(f"{_named(joint)}: node {answer.id} answered in its place ({reason})")
        current, velocity, position = _PRESENT.unpack(answer.params)
        self.convert(index, position, velocity, current)

    def _line(self) -> Port:
        if self._port is None:
            raise BusError("the motor bus is not connected")
        return self._port


def watchdog_count(spec: RobotSpec) -> int:
    """Register value of the node's watchdog: the longest time not above the robot file's."""
    return int(spec.bus.watchdog_s / xl330.WATCHDOG_S_PER_COUNT + 1e-9)


def out_of_range(
    spec: RobotSpec, voltage_v: float | None = None, temperature_c: float | None = None
) -> str | None:
    """What is wrong with a motor's supply or temperature, if anything."""
    safety = spec.safety
    if voltage_v is not None and not safety.voltage_min_v <= voltage_v <= safety.voltage_max_v:
        allowed = f"{safety.voltage_min_v}..{safety.voltage_max_v} V"
        return f"supply of {voltage_v:.1f} V is outside {allowed}"
    if temperature_c is not None and temperature_c > safety.temperature_max_c:
        return f"{temperature_c:.0f} °C is above {safety.temperature_max_c:.0f} °C; let it cool"
    return None


def _named(joint: Joint) -> str:
    return f"node {joint.id} ({joint.name})"


def _error_name(error: int) -> str:
    names = {int(number): number.name for number in dxl.ErrorNumber}
    return names.get(error, f"error {error}").lower().replace("_", " ")
