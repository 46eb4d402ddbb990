"""Driver of one Dynamixel Protocol 2.0 bus in current mode."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress

from onboard.bus import TRIPPED, Check, Fact, Node, named, out_of_range
from onboard.finding import Finding, Verdict, judged
from onboard.joint_readings import JointReadings, Units
from onboard.line import Line
from onboard.registers import SETUP_TRIES, Answer, Dialect, Registers
from onboard.serial_port import Port
from protocol import dynamixel as dxl
from protocol import xl330
from protocol.errors import BusError, ConfigError, WireError
from protocol.register import Register
from protocol.robot_spec import CurrentAction, Joint, RobotSpec

IN_TURN = (
    Fact.FAULT,
    Fact.WATCHDOG,
    Fact.VOLTAGE,
    Fact.TORQUE,
    Fact.TEMPERATURE,
    Fact.GOAL,
)
_REGISTERS = {
    Fact.FAULT: xl330.HARDWARE_ERROR,
    Fact.WATCHDOG: xl330.BUS_WATCHDOG,
    Fact.VOLTAGE: xl330.PRESENT_VOLTAGE,
    Fact.TORQUE: xl330.TORQUE_ENABLE,
    Fact.TEMPERATURE: xl330.PRESENT_TEMPERATURE,
    Fact.GOAL: xl330.GOAL_CURRENT,
}
_OF_MOTORS = frozenset({Fact.WATCHDOG, Fact.TORQUE, Fact.GOAL})

_READ_FROM, _READ_BYTES = xl330.PRESENT_CURRENT.address, 10
_PRESENT = struct.Struct("<hii")
_GOAL = struct.Struct("<h")
_UNITS = Units(
    xl330.CENTRE_COUNT, xl330.RAD_PER_COUNT, xl330.RAD_S_PER_COUNT, xl330.AMPERE_PER_COUNT
)


class DynamixelBus(JointReadings):
    """See :class:`onboard.bus.Bus`.

    Each motor has a watchdog of its own: silence stops it, latched, until its power is cycled.

    Attributes:
        fast: answers come in one packet.
    """

    def __init__(
        self, spec: RobotSpec, open_port: Callable[[], Port], clock_s: Callable[[], float]
    ) -> None:
        """Raises ConfigError for an action mode that this driver does not speak."""
        super().__init__(spec.joints, _UNITS)
        if not isinstance(spec.action, CurrentAction):
            raise ConfigError(f"{spec.name}: a dynamixel2 bus is driven in current mode only")
        self._spec, self._current_max_a = spec, spec.action.current_max_a
        self._motors = spec.actuated
        self._ids = [joint.id for joint in spec.joints]
        self._motor_ids = [joint.id for joint in self._motors]
        self._sync_read = dxl.make_sync_read(_READ_FROM, _READ_BYTES, self._ids)
        self._fast_read = dxl.make_fast_sync_read(_READ_FROM, _READ_BYTES, self._ids)
        off = [(node, xl330.TORQUE_ENABLE.pack(0)) for node in self._motor_ids]
        self._torque_off = dxl.make_sync_write(xl330.TORQUE_ENABLE.address, 1, off)
        self._line = Line(open_port, clock_s, dxl.Parser(), _is_answer)
        self._registers = Registers(self._line, _DIALECT)
        self._armed = watchdog_count(spec)
        self._checked = -1
        self.watchdog_s = self._armed * xl330.WATCHDOG_S_PER_COUNT
        self.fast = False
        self.alert = False

    @property
    def read_name(self) -> str:
        """How the joints are read here."""
        return "fast sync read" if self.fast else "sync read"

    def connect(self) -> list[Node]:
        """Torque off, current mode, no return delay, watchdog armed."""
        self._line.open()
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
        self._line.close()

    def read(self) -> None:
        """One (fast) sync read into the attributes."""
        answers = self._read_fast() if self.fast else self._read_each()
        if len(answers) != len(self._joints):
            raise BusError(f"{len(answers)} of {len(self._joints)} joints answered")
        for joint, answer in enumerate(answers):
            self._take(joint, answer)
        self.alert = any(answer.alert for answer in answers)

    def write(self, goal: Sequence[float]) -> None:
        """One sync write of goal currents."""
        goals = [
            (node, _GOAL.pack(round(current / xl330.AMPERE_PER_COUNT)))
            for node, current in zip(self._motor_ids, goal, strict=True)
        ]
        register = xl330.GOAL_CURRENT
        self._line.send(dxl.make_sync_write(register.address, register.size, goals))

    def power_on(self) -> Sequence[float]:
        """Zero goal, fresh watchdog, torque on; every step read back.

        A motor whose watchdog had tripped is made torque-free first, so nothing can jump.
        """
        for joint in self._motors:
            self._registers.set(joint, xl330.TORQUE_ENABLE, 0)
            self._arm(joint)
            self._registers.set(joint, xl330.TORQUE_ENABLE, 1)
        return [0.0] * len(self._motors)

    def power_off(self) -> list[str]:
        """Torque off on every motor, whatever the others do."""
        failures = []
        self.cut()  # unconfirmed, but every motor hears it before anything can wait
        for joint in self._motors:
            try:
                self._registers.set(joint, xl330.TORQUE_ENABLE, 0)
            except BusError as error:
                failures.append(f"{joint.name}: torque may still be on ({error})")
        return failures

    def cut(self) -> None:
        """Torque off on every motor in one packet."""
        self._line.overtake(self._torque_off)

    def check_next(self) -> Check:
        """The next fact about the motors."""
        self._checked = (self._checked + 1) % (len(self._motors) * len(IN_TURN))
        motor, index = divmod(self._checked, len(IN_TURN))
        return self._check(self._motors[motor], IN_TURN[index])

    def check_all(self, fact: Fact) -> list[Check]:
        """One fact of every node, or of those with a motor."""
        joints = self._motors if fact in _OF_MOTORS else self._joints
        return [self._check(joint, fact) for joint in joints]

    def audit(self, nodes: Sequence[Node]) -> list[Finding]:
        """Firmware, return delay and watchdog."""
        return [self._audit_firmware(nodes), self._audit_return_delay(), self._audit_watchdog()]

    def _check(self, joint: Joint, fact: Fact) -> Check:
        register = _REGISTERS[fact]
        count = self._registers.peek(joint, register, self._spec.bus.read_timeout_s)
        if fact is Fact.WATCHDOG:
            tripped = count == xl330.WATCHDOG_TRIPPED
            return Check(joint, fact, TRIPPED if tripped else count * register.unit)
        return Check(joint, fact, count if fact is Fact.GOAL else count * register.unit)

    def _first_read(self) -> None:
        for _ in range(SETUP_TRIES - 1):
            with suppress(BusError):
                self.read()
                return
        self.read()

    def _identify(self, joint: Joint) -> Node:
        answer = self._registers.ping(joint)
        model = int.from_bytes(answer[:2], "little")
        if model != xl330.MODEL_NUMBERS[joint.model]:
            raise BusError(f"{named(joint)} has model number {model}, not that of {joint.model}")
        error = self._registers.get(joint, xl330.HARDWARE_ERROR)
        if error:
            raise BusError(f"{named(joint)} reports hardware error {error:#04x}; power-cycle it")
        self._registers.set(joint, xl330.RETURN_DELAY, 0)
        voltage_v, temperature_c = self._supply(joint)
        return Node(joint.name, joint.id, model, answer[2], voltage_v, temperature_c)

    def _set_up_motor(self, joint: Joint) -> None:
        problem = out_of_range(self._spec, *self._supply(joint))
        if problem:
            raise BusError(f"{named(joint)}: {problem}")
        limit = round(self._current_max_a / xl330.AMPERE_PER_COUNT)
        self._registers.set(joint, xl330.OPERATING_MODE, xl330.CURRENT_MODE)
        self._registers.set(joint, xl330.CURRENT_LIMIT, limit)

    def _arm(self, joint: Joint) -> None:
        """Clear and arm the node's own watchdog over a zero goal."""
        self._registers.set(joint, xl330.BUS_WATCHDOG, 0)
        self._registers.set(joint, xl330.GOAL_CURRENT, 0)
        self._registers.set(joint, xl330.BUS_WATCHDOG, self._armed)

    def _supply(self, joint: Joint) -> tuple[float, float]:
        voltage = self._registers.get(joint, xl330.PRESENT_VOLTAGE) * xl330.VOLT_PER_COUNT
        return voltage, float(self._registers.get(joint, xl330.PRESENT_TEMPERATURE))

    def _read_fast(self) -> list[dxl.Status]:
        (frame,) = self._line.ask(self._fast_read, 1, self._spec.bus.read_timeout_s)
        try:
            return dxl.parse_fast_status(frame, _READ_BYTES)
        except WireError as error:
            raise BusError(f"fast sync read: {error}") from error

    def _read_each(self) -> list[dxl.Status]:
        timeout_s = self._spec.bus.read_timeout_s
        frames = self._line.ask(self._sync_read, len(self._ids), timeout_s)
        return [dxl.parse_status(frame) for frame in frames]

    def _take(self, index: int, answer: dxl.Status) -> None:
        joint = self._joints[index]
        if answer.id != joint.id or answer.error or len(answer.params) != _READ_BYTES:
            reason = _error_name(answer.error)
            raise BusError(f"{named(joint)}: node {answer.id} answered in its place ({reason})")
        current, velocity, position = _PRESENT.unpack(answer.params)
        self.convert(index, position, velocity, current)

    def _audit_firmware(self, nodes: Sequence[Node]) -> Finding:
        """Old firmware works, more slowly."""
        oldest = min(node.firmware for node in nodes)
        if self.fast:
            return Finding(Verdict.OK, "firmware", f"{oldest} or newer: one packet answers for all")
        needed = xl330.FAST_SYNC_READ_FIRMWARE
        detail = f"{oldest} is older than {needed}: every node answers for itself; update it"
        return Finding(Verdict.WARNING, "firmware", detail)

    def _audit_return_delay(self) -> Finding:
        register = xl330.RETURN_DELAY
        try:
            waits = [(joint, self._peek(joint, register)) for joint in self._joints]
        except BusError as error:
            return Finding(Verdict.FAILED, register.name, str(error))
        told = [f"{j.name} waits {n * register.unit * 1e6:.0f} µs" for j, n in waits if n]
        return judged(register.name, ", ".join(told), "0 µs on every node")

    def _audit_watchdog(self) -> Finding:
        register = xl330.BUS_WATCHDOG
        try:
            held = [(joint, self._peek(joint, register)) for joint in self._motors]
        except BusError as error:
            return Finding(Verdict.FAILED, register.name, str(error))
        wrong = [f"{j.name} holds {n}, not {self._armed}" for j, n in held if n != self._armed]
        detail = f"{self.watchdog_s * 1e3:.0f} ms in every motor"
        return judged(register.name, ", ".join(wrong), detail)

    def _peek(self, joint: Joint, register: Register) -> int:
        return self._registers.peek(joint, register, self._spec.bus.read_timeout_s)


def watchdog_count(spec: RobotSpec) -> int:
    """Register value of the node's watchdog: the longest time not above the robot file's."""
    return int(spec.bus.watchdog_s / xl330.WATCHDOG_S_PER_COUNT + 1e-9)


def _is_answer(frame: dxl.Frame) -> bool:
    """Anything else is an adapter's echo of our own packet."""
    return frame.instruction == dxl.Instruction.STATUS and len(frame.params) > 0


def _answer(frame: dxl.Frame) -> Answer:
    status = dxl.parse_status(frame)
    refusal = _error_name(status.error) if status.error else None
    return Answer(status.id, refusal, status.params)


def _error_name(error: int) -> str:
    names = {int(number): number.name for number in dxl.ErrorNumber}
    return names.get(error, f"error {error}").lower().replace("_", " ")


_DIALECT = Dialect(
    ping=dxl.make_ping,
    ping_bytes=3,
    read=dxl.make_read,
    write=dxl.make_write,
    parse=_answer,
    eeprom_end=xl330.TORQUE_ENABLE.address,
)
