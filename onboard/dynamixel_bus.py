"""Driver of one Dynamixel Protocol 2.0 bus: a sync read and a sync write per tick."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import UNSET

from onboard.bus import TRIPPED, Check, Fact, Named, Node, always, named, out_of_range
from onboard.dynamixel_audit import (
    audit_firmware,
    audit_imu,
    audit_return_delay,
    audit_watchdog,
)
from onboard.dynamixel_goals import Goals, goals_for
from onboard.finding import Finding
from onboard.joint_readings import JointReadings, Units, require_gravity
from onboard.line import Line
from onboard.registers import Answer, Dialect, Registers, obtain
from onboard.rotation import Rotation
from onboard.serial_port import Port
from onboard.torque_switch import TorqueSwitch
from protocol import dynamixel as dxl
from protocol import imu_node, xl330
from protocol.dynamixel_nodes import FAST_SYNC_READ_FIRMWARE, NODES
from protocol.errors import BusError, ConfigError, WireError
from protocol.register import Register
from protocol.robot_spec import Joint, PositionAction, RobotSpec

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
}
_OF_MOTORS = frozenset({Fact.WATCHDOG, Fact.TORQUE, Fact.GOAL})


class _Window(NamedTuple):
    """What a tick reads from every node; of a joint current or load, velocity and position."""

    start: int
    present: struct.Struct


_OF_JOINTS = _Window(xl330.PRESENT_CURRENT.address, struct.Struct("<hii"))
_WITH_IMU = _Window(imu_node.GRAVITY_X.address, struct.Struct("<2xhii"))
"""Two bytes more: an IMU has six numbers where a servo has PWM and these three."""


class DynamixelBus(JointReadings):
    """See :class:`onboard.bus.Bus`.

    Each motor has a watchdog of its own: silence stops it, latched, until its power is cycled.

    Attributes:
        fast: answers come in one packet.
    """

    def __init__(
        self, spec: RobotSpec, open_port: Callable[[], Port], clock_s: Callable[[], float]
    ) -> None:
        """Raises ConfigError for motors and action modes that this driver does not speak."""
        ampere = _ampere(spec)
        units = (xl330.CENTRE_COUNT, xl330.RAD_PER_COUNT, xl330.RAD_S_PER_COUNT, ampere)
        super().__init__(spec.joints, Units(*units))
        self._spec, self._motors = spec, spec.actuated
        self._indices = [spec.joint_index(joint.name) for joint in self._motors]
        self._imu = None if spec.imu is UNSET else spec.imu
        self._nodes: list[Named] = (
            [*spec.joints] if self._imu is None else [*spec.joints, self._imu]
        )
        start, self._present = _OF_JOINTS if self._imu is None else _WITH_IMU
        ids = [node.id for node in self._nodes]
        self._sync_read = dxl.make_sync_read(start, self._present.size, ids)
        self._fast_read = dxl.make_fast_sync_read(start, self._present.size, ids)
        self._line = Line(open_port, clock_s, dxl.Parser(), _is_answer)
        self._registers = Registers(self._line, _DIALECT)
        self._switch = TorqueSwitch(
            *(self._line, self._registers, self._motors),
            *(xl330.TORQUE_ENABLE, dxl.make_sync_write),
        )
        self._armed = watchdog_count(spec)
        self._goals: Goals = goals_for(spec, self._line, self._registers, self._switch, self._armed)
        self._turn = Rotation(IN_TURN)
        self.watchdog_s = self._armed * xl330.WATCHDOG_S_PER_COUNT
        self.fast = False
        self.alert = False

    @property
    def read_name(self) -> str:
        """How the joints are read here."""
        return "fast sync read" if self.fast else "sync read"

    def connect(self) -> list[Node]:
        """Torque off, the mode and limits of the robot file, no return delay, watchdog armed."""
        self._line.open()
        failures = self.power_off()
        if failures:
            raise BusError("; ".join(failures))
        models: list[str] = [joint.model for joint in self._joints]
        models += [] if self._imu is None else [self._imu.model]
        nodes = [self._identify(*pair) for pair in zip(self._nodes, models, strict=True)]
        for joint in self._motors:
            self._accept_supply(joint)
            self._goals.set_up(joint)
        self.fast = min(node.firmware for node in nodes) >= FAST_SYNC_READ_FIRMWARE
        self._first_read()
        return nodes

    def close(self) -> None:
        """Give the line back."""
        self._line.close()

    def read(self) -> None:
        """One (fast) sync read into the attributes. An IMU that feels no gravity is a miss."""
        answers = self._read_fast() if self.fast else self._read_each()
        if len(answers) != len(self._nodes):
            raise BusError(f"{len(answers)} of {len(self._nodes)} nodes answered")
        for node, answer in zip(self._nodes, answers, strict=True):
            self._accept(node, answer)
        if self._imu is not None:
            felt = imu_node.PRESENT.unpack(answers[-1].params)
            require_gravity(self._imu, felt)
            self.feel(felt)
        for index in range(len(self._joints)):
            current, velocity, position = self._present.unpack(answers[index].params)
            self.convert(index, position, velocity, current)
        self.alert = any(answer.alert for answer in answers)

    def write(self, goal: Sequence[float]) -> None:
        """One sync write of goals."""
        self._line.send(self._goals.packet(goal))

    def power_on(self, may: Callable[[], bool] = always) -> Sequence[float]:
        """Torque on without motion, watchdogs fresh; everything read back."""
        return self._goals.engage(self._measured, may)

    def power_off(self) -> list[str]:
        """Torque off on every motor, whatever the others do."""
        return self._switch.off()

    def power_off_step(self, anew: bool) -> list[str]:
        """Torque off, one sync write and one sync read."""
        return self._switch.step(anew, self._spec.bus.read_timeout_s)

    def cut(self) -> None:
        """Torque off on every motor in one packet."""
        self._switch.cut()

    def check_next(self) -> list[Check]:
        """The next fact about the motors."""
        return self._check(self._motors, self._turn.next())

    def check_all(self, fact: Fact) -> list[Check]:
        """One fact of every node, the IMU included, or of those with a motor."""
        return self._check(self._motors if fact in _OF_MOTORS else self._nodes, fact)

    def audit(self, nodes: Sequence[Node]) -> list[Finding]:
        """Firmware, return delay, watchdog, and which way the IMU thinks is down."""
        return [
            audit_firmware(nodes, self.fast),
            audit_return_delay(self._nodes, self._peek),
            audit_watchdog(self._motors, self._peek, self._armed),
            *([] if self._imu is None else [audit_imu(self.inertial)]),
        ]

    def _check(self, nodes: Sequence[Named], fact: Fact) -> list[Check]:
        """One sync read of one register."""
        register = self._goals.register if fact is Fact.GOAL else _REGISTERS[fact]
        counts = self._registers.all_of(nodes, register, self._spec.bus.read_timeout_s)
        values = [self._value(fact, register, count) for count in counts]
        return [Check(node, fact, value) for node, value in zip(nodes, values, strict=True)]

    def _value(self, fact: Fact, register: Register, count: int) -> float:
        if fact is Fact.GOAL:
            return count - self._goals.centre
        tripped = fact is Fact.WATCHDOG and count == xl330.WATCHDOG_TRIPPED
        return TRIPPED if tripped else count * register.unit

    def _measured(self) -> list[int]:
        """Where the motors are now, in counts. Raises BusError."""
        obtain(self.read)
        return [self.position_count[index] for index in self._indices]

    def _first_read(self) -> None:
        """Raises BusError unless the bus can be read one way or the other."""
        try:
            obtain(self.read)
        except BusError:
            if not self.fast:
                raise
            self.fast = False
            obtain(self.read)

    def _identify(self, node: Named, model: str) -> Node:
        answer = self._registers.ping(node)
        number = int.from_bytes(answer[:2], "little")
        if number != NODES[model].number:
            raise BusError(f"{named(node)} has model number {number}, not that of {model}")
        error = self._registers.get(node, xl330.HARDWARE_ERROR)
        if error:
            raise BusError(f"{named(node)} reports hardware error {error:#04x}; power-cycle it")
        self._registers.set(node, xl330.RETURN_DELAY, 0)
        voltage_v, temperature_c = self._supply(node)
        return Node(node.name, node.id, number, answer[2], voltage_v, temperature_c)

    def _accept_supply(self, joint: Joint) -> None:
        problem = out_of_range(self._spec, *self._supply(joint))
        if problem:
            raise BusError(f"{named(joint)}: {problem}")

    def _supply(self, node: Named) -> tuple[float, float]:
        voltage = self._registers.get(node, xl330.PRESENT_VOLTAGE) * xl330.VOLT_PER_COUNT
        return voltage, float(self._registers.get(node, xl330.PRESENT_TEMPERATURE))

    def _read_fast(self) -> list[dxl.Status]:
        (frame,) = self._line.ask(self._fast_read, 1, self._spec.bus.read_timeout_s)
        try:
            return dxl.parse_fast_status(frame, self._present.size)
        except WireError as error:
            raise BusError(f"fast sync read: {error}") from error

    def _read_each(self) -> list[dxl.Status]:
        timeout_s = self._spec.bus.read_timeout_s
        frames = self._line.ask(self._sync_read, len(self._nodes), timeout_s)
        return [dxl.parse_status(frame) for frame in frames]

    def _accept(self, node: Named, answer: dxl.Status) -> None:
        """Raises BusError unless this is the node's answer."""
        if answer.id != node.id or answer.error or len(answer.params) != self._present.size:
            reason = _error_name(answer.error)
            raise BusError(f"{named(node)}: node {answer.id} answered in its place ({reason})")

    def _peek(self, node: Named, register: Register) -> int:
        return self._registers.peek(node, register, self._spec.bus.read_timeout_s)


def watchdog_count(spec: RobotSpec) -> int:
    """Register value of the node's watchdog: the longest time not above the robot file's."""
    return int(spec.bus.watchdog_s / xl330.WATCHDOG_S_PER_COUNT + 1e-9)


def _ampere(spec: RobotSpec) -> float:
    """What a count of the motors' present current, or load, is."""
    model, position_mode = spec.actuated[0].model, isinstance(spec.action, PositionAction)
    node, mode = NODES.get(model), "position" if position_mode else "current"
    if node is None or node.mode != mode:
        raise ConfigError(f"{spec.name}: a dynamixel2 bus drives no {model} in {mode} mode")
    return node.ampere


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
    sync_read=dxl.make_sync_read,
    parse=_answer,
    eeprom_end=xl330.TORQUE_ENABLE.address,
)
