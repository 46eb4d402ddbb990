"""Driver of one Feetech STS3215 bus in position mode.

These servos have no bus watchdog: silence leaves them on their way to the last goal, which they
then hold. So the envelope keeps goals near the joints, every servo gets a torque limit of its own,
and the driver tells the loop that a motor was left alone, as a tripped watchdog would.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from onboard.bus import TRIPPED, Check, Fact, Node, always, named, out_of_range, permitted
from onboard.finding import Finding, Verdict, judged
from onboard.joint_readings import JointReadings, Units
from onboard.line import Line
from onboard.registers import SETUP_TIMEOUT_S, Answer, Dialect, Registers, obtain
from onboard.rotation import Rotation
from onboard.serial_port import Port
from onboard.stops import Stops
from onboard.torque_switch import TorqueSwitch
from protocol import feetech, sts3215
from protocol.errors import BusError, ConfigError
from protocol.register import Register
from protocol.robot_spec import Joint, PositionAction, RobotSpec

IN_TURN = (Fact.FAULT, Fact.VOLTAGE, Fact.TORQUE, Fact.TEMPERATURE, Fact.GOAL)
_ASKED = {Fact.TORQUE: sts3215.TORQUE_ENABLE, Fact.GOAL: sts3215.GOAL_POSITION}
"""Facts that a reading does not bring along."""
GAINS = (sts3215.P_COEFFICIENT, sts3215.D_COEFFICIENT, sts3215.I_COEFFICIENT)
"""Held at what they are in the factory: the robot file's stiffness is that of a gain of 32."""

_READ_FROM, _READ_BYTES = sts3215.PRESENT_POSITION.address, 15
_PRESENT = struct.Struct("<HH2xBBxBxxxH")
_ORDERS = struct.Struct("<BHHHH")
"""Acceleration, goal, time, speed and torque limit: one block of the control table."""
_ORDERS_AT, _ORDERS_BYTES = sts3215.ACCELERATION.address, 9
_SIGN = 0x8000
_LAST_COUNT = sts3215.COUNTS_PER_TURN - 1
_UNITS = Units(
    sts3215.CENTRE_COUNT,
    sts3215.RAD_PER_COUNT,
    sts3215.RAD_S_PER_COUNT,
    sts3215.AMPERE_PER_COUNT,
)


class FeetechBus(JointReadings):
    """See :class:`onboard.bus.Bus`."""

    read_name = "sync read"
    watchdog_s = 0.0

    def __init__(
        self, spec: RobotSpec, open_port: Callable[[], Port], clock_s: Callable[[], float]
    ) -> None:
        """Raises ConfigError for an action mode that this driver does not speak."""
        super().__init__(spec.joints, _UNITS)
        if not isinstance(spec.action, PositionAction):
            raise ConfigError(f"{spec.name}: a feetech bus is driven in position mode only")
        self._spec, self._clock_s = spec, clock_s
        self._motors = spec.actuated
        self._indices = [spec.joint_index(joint.name) for joint in self._motors]
        share = spec.safety.effort_max_nm / spec.action.stall_nm
        self._torque_limit = round(share * sts3215.FULL_TORQUE)
        self._travel_rad = spec.safety.effort_max_nm / spec.action.stiffness_nm_rad
        ids = self._ids = [joint.id for joint in spec.joints]
        self._motor_ids = [joint.id for joint in self._motors]
        self._sync_read = feetech.make_sync_read(_READ_FROM, _READ_BYTES, ids)
        self._stops = Stops(spec, spec.action, _count)
        self._line = Line(open_port, clock_s, feetech.Parser(), padding=feetech.PADDING)
        self._registers = Registers(self._line, _DIALECT)
        self._switch = TorqueSwitch(
            *(self._line, self._registers, self._motors),
            *(sts3215.TORQUE_ENABLE, feetech.make_sync_write),
        )
        self._supply = [(0.0, 0.0)] * len(ids)
        self._alarms = [0] * len(ids)
        self._turn = Rotation(IN_TURN)
        self._heard_s = 0.0
        self.alert = False

    def connect(self) -> list[Node]:
        """Torque off, position mode, factory gains, the joint's stops, no return delay."""
        self._line.open()
        failures = self.power_off()
        if failures:
            raise BusError("; ".join(failures))
        nodes = [self._identify(joint) for joint in self._joints]
        for joint in self._motors:
            self._set_up(joint)
        obtain(self.read)
        for joint, (voltage_v, temperature_c) in zip(self._joints, self._supply, strict=True):
            problem = out_of_range(self._spec, voltage_v, temperature_c)
            if problem and joint.actuated:
                raise BusError(f"{named(joint)}: {problem}")
        return [
            node._replace(voltage_v=voltage_v, temperature_c=temperature_c)
            for node, (voltage_v, temperature_c) in zip(nodes, self._supply, strict=True)
        ]

    def close(self) -> None:
        """Give the line back."""
        self._line.close()

    def read(self) -> None:
        """One sync read into the attributes; alarms, supply and temperature come along."""
        timeout_s = self._spec.bus.read_timeout_s
        for index, frame in enumerate(self._line.ask(self._sync_read, len(self._ids), timeout_s)):
            self._take(index, frame)
        self.alert = any(self._alarms)

    def write(self, goal: Sequence[float]) -> None:
        """One sync write of goal positions."""
        register = sts3215.GOAL_POSITION
        goals = [
            (node, register.pack(_count(each)))
            for node, each in zip(self._motor_ids, goal, strict=True)
        ]
        self._line.send(feetech.make_sync_write(register.address, register.size, goals))
        self._heard_s = self._clock_s()

    def power_on(self, may: Callable[[], bool] = always) -> Sequence[float]:
        """Goal where the joint is, speed and torque limit; once these stand, torque on."""
        obtain(self.read)
        counts = self._stops.goals([self.position_count[index] for index in self._indices])
        orders = [
            (joint.id, self._orders(joint, count))
            for joint, count in zip(self._motors, counts, strict=True)
        ]
        obtain(lambda: self._drive(orders, may))
        self._heard_s = self._clock_s()
        return [(count - sts3215.CENTRE_COUNT) * sts3215.RAD_PER_COUNT for count in counts]

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
        """The next fact about the motors; most came with the last reading."""
        return self.check_all(self._turn.next())

    def check_all(self, fact: Fact) -> list[Check]:
        """One fact of every servo."""
        values = (
            self._asked(fact) if fact in _ASKED else [self._known(fact, i) for i in self._indices]
        )
        return [Check(j, fact, value) for j, value in zip(self._motors, values, strict=True)]

    def audit(self, nodes: Sequence[Node]) -> list[Finding]:
        """Return delay, torque limit, and that there is no watchdog."""
        limit = f"{self._torque_limit / 10:.0f} % of the supply in every servo"
        return [
            self._audit(sts3215.RETURN_DELAY, 0, "0 µs on every node"),
            self._audit(sts3215.TORQUE_LIMIT, self._torque_limit, limit),
            Finding(
                Verdict.WARNING,
                Fact.WATCHDOG.value,
                "these servos have none: left alone they go to their last goal, at most "
                f"{self._travel_rad:.2f} rad away, and hold it",
            ),
        ]

    def _asked(self, fact: Fact) -> list[float]:
        """One sync read of one register."""
        timeout_s = self._spec.bus.read_timeout_s
        counts = self._registers.all_of(self._motors, _ASKED[fact], timeout_s)
        centre = sts3215.CENTRE_COUNT if fact is Fact.GOAL else 0
        return [float(count - centre) for count in counts]

    def _known(self, fact: Fact, index: int) -> float:
        """What the last reading brought along, or the loop knows itself."""
        if fact is Fact.WATCHDOG:
            silence_s = self._clock_s() - self._heard_s
            return TRIPPED if silence_s > self._spec.bus.watchdog_s else 0.0
        voltage_v, temperature_c = self._supply[index]
        known = {Fact.FAULT: float(self._alarms[index]), Fact.VOLTAGE: voltage_v}
        return known.get(fact, temperature_c)

    def _take(self, index: int, frame: feetech.Frame) -> None:
        joint = self._joints[index]
        if frame.id != joint.id or len(frame.params) != _READ_BYTES:
            raise BusError(f"{named(joint)}: node {frame.id} answered in its place")
        position, speed, voltage, temperature, _, current = _PRESENT.unpack(frame.params)
        self.convert(index, _signed(position), _signed(speed), _signed(current))
        self._supply[index] = (voltage * sts3215.VOLT_PER_COUNT, float(temperature))
        self._alarms[index] = frame.code

    def _identify(self, joint: Joint) -> Node:
        get = self._registers.get
        self._registers.ping(joint)
        model = get(joint, sts3215.MODEL_NUMBER)
        if model != sts3215.MODEL_NUMBER_STS3215:
            raise BusError(f"{named(joint)} has model number {model}, not that of {joint.model}")
        alarms = get(joint, sts3215.STATUS)
        if alarms:
            raise BusError(f"{named(joint)} reports hardware error {alarms:#04x}; power-cycle it")
        offset = get(joint, sts3215.HOMING_OFFSET)
        if offset:
            raise BusError(
                f"{named(joint)}: its homing offset is {offset}; write 0 there and the joint's "
                "zero into offset_rad, so that one place says where it is"
            )
        self._keep(joint, sts3215.RETURN_DELAY, 0)
        firmware = 100 * get(joint, sts3215.FIRMWARE_MAJOR) + get(joint, sts3215.FIRMWARE_MINOR)
        return Node(joint.name, joint.id, model, firmware, 0.0, 0.0)

    def _set_up(self, joint: Joint) -> None:
        self._keep(joint, sts3215.OPERATING_MODE, sts3215.POSITION_MODE)
        for gain in GAINS:
            self._keep(joint, gain, gain.initial)
        low, high = self._stops.of(joint)
        self._keep(joint, sts3215.MIN_POSITION, low)
        self._keep(joint, sts3215.MAX_POSITION, high)
        self._registers.set(joint, sts3215.TORQUE_LIMIT, self._torque_limit)

    def _keep(self, joint: Joint, register: Register, value: int) -> None:
        """Make EEPROM hold ``value``, also over a power cycle."""
        if self._registers.get(joint, register) == value:
            return
        self._registers.set(joint, sts3215.LOCK, 0)
        self._registers.set(joint, register, value)
        self._registers.set(joint, sts3215.LOCK, 1)

    def _orders(self, joint: Joint, count: int) -> bytes:
        speed = round(joint.velocity_max_rad_s * joint.gear / sts3215.RAD_S_PER_COUNT)
        return _ORDERS.pack(0, count, 0, speed, self._torque_limit)

    def _drive(self, orders: Sequence[tuple[int, bytes]], may: Callable[[], bool]) -> None:
        permitted(may)
        self._order(orders)
        self._switch_on(may)

    def _order(self, orders: Sequence[tuple[int, bytes]]) -> None:
        """Goals and limits into every servo, whether or not it has torque."""
        self._line.send(feetech.make_sync_write(_ORDERS_AT, _ORDERS_BYTES, orders))
        self._confirm(_ORDERS_AT, orders, "goal and limits")

    def _switch_on(self, may: Callable[[], bool]) -> None:
        self._switch.on(may)
        held = [(node, b"\1") for node in self._motor_ids]
        self._confirm(sts3215.TORQUE_ENABLE.address, held, "torque")

    def _confirm(self, address: int, held: Sequence[tuple[int, bytes]], what: str) -> None:
        """Every servo holds these bytes. Raises BusError for the first that does not."""
        packet = feetech.make_sync_read(address, len(held[0][1]), self._motor_ids)
        frames = self._line.ask(packet, len(held), SETUP_TIMEOUT_S)
        for joint, (node, data), frame in zip(self._motors, held, frames, strict=True):
            if frame.id != node or frame.params != data:
                raise BusError(f"{named(joint)} did not take its {what}")

    def _audit(self, register: Register, wanted: int, sound: str) -> Finding:
        timeout_s = self._spec.bus.read_timeout_s
        try:
            held = [(j, self._registers.peek(j, register, timeout_s)) for j in self._motors]
        except BusError as error:
            return Finding(Verdict.FAILED, register.name, str(error))
        wrong = [f"{joint.name} holds {n}, not {wanted}" for joint, n in held if n != wanted]
        return judged(register.name, ", ".join(wrong), sound)


def _count(goal_rad: float) -> int:
    """Register value of a goal in the motor's direction; never beyond the turn."""
    count = sts3215.CENTRE_COUNT + round(goal_rad / sts3215.RAD_PER_COUNT)
    return min(max(count, 0), _LAST_COUNT)


def _signed(value: int) -> int:
    """A magnitude and a sign bit as a number."""
    return _SIGN - value if value & _SIGN else value


def _answer(frame: feetech.Frame) -> Answer:
    status = feetech.parse_status(frame)
    return Answer(status.id, None, status.params)


_DIALECT = Dialect(
    ping=feetech.make_ping,
    ping_bytes=0,
    read=feetech.make_read,
    write=feetech.make_write,
    sync_read=feetech.make_sync_read,
    parse=_answer,
    eeprom_end=sts3215.EEPROM_BYTES,
)
