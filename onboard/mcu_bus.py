"""Driver of a microcontroller of one's own that has every joint, in current mode.

Every command carries the deadline by which the next one must come. The board keeps it: too late,
and it brakes the motors and ignores commands until power is ordered on again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onboard.bus import TRIPPED, Check, Fact, Node, always, named, out_of_range, permitted
from onboard.finding import Finding, Verdict
from onboard.joint_readings import JointReadings, Units
from onboard.line import Line
from onboard.registers import SETUP_TIMEOUT_S, obtain
from onboard.rotation import Rotation
from onboard.serial_port import Port
from protocol import mcu_link as mcu
from protocol.errors import BusError, ConfigError, WireError
from protocol.robot_spec import CurrentAction, Joint, RobotSpec

IN_TURN = (
    Fact.FAULT,
    Fact.WATCHDOG,
    Fact.VOLTAGE,
    Fact.TORQUE,
    Fact.TEMPERATURE,
    Fact.GOAL,
)
CUT_SEQUENCE = 0
"""Of power-offs, which any thread may send and whose answers nobody waits for."""

_OFF = mcu.Power(on=0, deadline_ms=0, current_max_ma=0)
_UNITS = Units(0, mcu.RAD_PER_COUNT, mcu.RAD_S_PER_COUNT, mcu.AMPERE_PER_COUNT)
_NOTHING = mcu.State(mcu.Flag(0), 0, 0, 0, ())


class McuBus(JointReadings):
    """See :class:`onboard.bus.Bus`. What a reading brings along answers every check."""

    read_name = "state"

    def __init__(
        self, spec: RobotSpec, open_port: Callable[[], Port], clock_s: Callable[[], float]
    ) -> None:
        """Raises ConfigError for an action mode that this driver does not speak."""
        super().__init__(spec.joints, _UNITS)
        if not isinstance(spec.action, CurrentAction):
            raise ConfigError(f"{spec.name}: an mcu link is driven in current mode only")
        self._spec = spec
        self._indices = [spec.joint_index(joint.name) for joint in spec.actuated]
        self._deadline_ms = round(spec.bus.watchdog_s * 1e3)
        limit_ma = round(spec.action.current_max_a / mcu.AMPERE_PER_COUNT)
        self._on = mcu.Power(1, self._deadline_ms, limit_ma)
        self._cut = mcu.make_power(CUT_SEQUENCE, _OFF)
        self._parser = mcu.Parser()
        self._line = Line(open_port, clock_s, self._parser, self._is_answer)
        self._goal_ma = [0] * len(spec.joints)
        self._sequence = 0
        self._state = _NOTHING
        self._turn = Rotation(IN_TURN)
        self.watchdog_s = self._deadline_ms * 1e-3
        self.alert = False

    def connect(self) -> list[Node]:
        """A new session: the board takes the torque away and says who it is."""
        self._line.open()
        board = self._identify()
        obtain(self.read)
        for joint in self._spec.joints:
            self._accept(joint, board)
        return [self._node(joint, board) for joint in self._spec.joints]

    def close(self) -> None:
        """Give the line back."""
        self._line.close()

    def read(self) -> None:
        """One state into the attributes; power, supply, temperatures and goals come along."""
        self._adopt(self._ask(mcu.make_read, self._spec.bus.read_timeout_s))

    def write(self, goal: Sequence[float]) -> None:
        """One command of goal currents."""
        for index, current in zip(self._indices, goal, strict=True):
            self._goal_ma[index] = round(current / mcu.AMPERE_PER_COUNT)
        command = mcu.Command(self._deadline_ms, tuple(self._goal_ma))
        try:
            packet = mcu.make_command(self._next_sequence(), command)
        except WireError as error:
            raise BusError(f"goals do not fit the link: {error}") from error
        self._line.send(packet)

    def power_on(self, may: Callable[[], bool] = always) -> Sequence[float]:
        """Zero goal, torque on, the deadline running; the board's own state confirms it."""
        obtain(lambda: self._switch_on(may))
        return [0.0] * len(self._indices)

    def power_off(self) -> list[str]:
        """Torque off; it is one board, so there is one line or none."""
        self.cut()
        return self._confirmed(lambda: obtain(lambda: self._switch(_OFF, SETUP_TIMEOUT_S)))

    def power_off_step(self, anew: bool) -> list[str]:
        """Torque off, asked once; one board has nobody to wait for."""
        self.cut()
        self._line.revive()
        return self._confirmed(lambda: self._switch(_OFF, self._spec.bus.read_timeout_s))

    def cut(self) -> None:
        """Torque off on every motor in one packet."""
        self._line.overtake(self._cut)

    def check_next(self) -> list[Check]:
        """The next fact about the motors, as of the last reading."""
        fact = self._telling(self._turn.next())
        return [self._check(index, fact) for index in self._indices]

    def check_all(self, fact: Fact) -> list[Check]:
        """One fact of every motor, as it is now."""
        self.read()
        return [self._check(index, fact) for index in self._indices]

    def audit(self, nodes: Sequence[Node]) -> list[Finding]:
        """The deadline, which the board cannot be without."""
        detail = f"{self._deadline_ms} ms, in every command"
        return [Finding(Verdict.OK, Fact.WATCHDOG.value, detail)]

    def _telling(self, fact: Fact) -> Fact:
        """Without torque, or after a stop, there is no goal: then that is the fact to tell."""
        if fact is Fact.GOAL and mcu.Flag.POWERED not in self._state.flags:
            return Fact.TORQUE
        if fact is Fact.GOAL and mcu.Flag.STOPPED in self._state.flags:
            return Fact.WATCHDOG
        return fact

    def _check(self, index: int, fact: Fact) -> Check:
        state, joint = self._state, self._spec.joints[index]
        channel = state.channels[index]
        stopped = mcu.Flag.STOPPED in state.flags
        values = {
            Fact.FAULT: channel.fault,
            Fact.WATCHDOG: TRIPPED if stopped else state.deadline_ms * 1e-3,
            Fact.VOLTAGE: state.supply_mv * mcu.VOLT_PER_COUNT,
            Fact.TORQUE: int(mcu.Flag.POWERED in state.flags),
            Fact.TEMPERATURE: channel.temperature_c,
            Fact.GOAL: channel.goal,
        }
        return Check(joint, fact, values[fact])

    def _identify(self) -> mcu.Identity:
        foreign = self._parser.foreign
        try:
            return obtain(self._say_hello)
        except BusError as error:
            if self._parser.foreign == foreign:
                raise
            version = f"the board speaks another version of the link than {mcu.VERSION}"
            raise BusError(f"{version}; update its firmware") from error

    def _say_hello(self) -> mcu.Identity:
        """A session's sequences begin anew, on both ends."""
        self._sequence = CUT_SEQUENCE
        try:
            return mcu.parse_identity(self._ask(mcu.make_hello, SETUP_TIMEOUT_S))
        except WireError as error:
            raise BusError(f"the board does not say who it is: {error}") from error

    def _accept(self, joint: Joint, board: mcu.Identity) -> None:
        """Raises BusError for a board that is not the one in the robot file."""
        if joint.actuated and not board.motors >> joint.id & 1:
            raise BusError(f"{named(joint)} has no motor on this board; check the wiring and ids")
        channel = self._state.channels[joint.id]
        if channel.fault:
            raise BusError(f"{named(joint)} reports hardware error {channel.fault:#04x}")
        supply_v = self._state.supply_mv * mcu.VOLT_PER_COUNT
        problem = out_of_range(self._spec, supply_v, float(channel.temperature_c))
        if problem and joint.actuated:
            raise BusError(f"{named(joint)}: {problem}")

    def _node(self, joint: Joint, board: mcu.Identity) -> Node:
        supply_v = self._state.supply_mv * mcu.VOLT_PER_COUNT
        temperature_c = float(self._state.channels[joint.id].temperature_c)
        return Node(joint.name, joint.id, board.model, board.firmware, supply_v, temperature_c)

    def _switch_on(self, may: Callable[[], bool]) -> None:
        permitted(may)
        self._switch(self._on, SETUP_TIMEOUT_S)

    def _confirmed(self, switch_off: Callable[[], None]) -> list[str]:
        try:
            switch_off()
        except BusError as error:
            return [f"the board: torque may still be on ({error})"]
        return []

    def _switch(self, power: mcu.Power, timeout_s: float) -> None:
        """Raises BusError unless the board's answer shows what was ordered."""
        frame = self._ask(lambda sequence: mcu.make_power(sequence, power), timeout_s)
        self._adopt(frame)
        held = self._state
        wanted = mcu.Flag.POWERED if power.on else mcu.Flag(0)
        if (held.flags, held.deadline_ms) != (wanted, power.deadline_ms):
            order = "on" if power.on else "off"
            raise BusError(f"the board did not take torque {order}: {held.flags!r}")

    def _adopt(self, frame: mcu.Frame) -> None:
        """A state into the attributes. Raises BusError for anything else."""
        try:
            state = mcu.parse_state(frame)
        except WireError as error:
            raise BusError(f"the board's answer makes no sense: {error}") from error
        if len(state.channels) != len(self._joints):
            said = f"{len(state.channels)} channels, the robot file {len(self._joints)} joints"
            raise BusError(f"the board has {said}")
        self._state = state
        for index, channel in enumerate(state.channels):
            self.convert(index, channel.position, channel.velocity, channel.current)
        self.alert = any(channel.fault for channel in state.channels)

    def _ask(self, make: Callable[[int], bytes], timeout_s: float) -> mcu.Frame:
        (frame,) = self._line.ask(make(self._next_sequence()), 1, timeout_s)
        return frame

    def _is_answer(self, frame: mcu.Frame) -> bool:
        """To the last question, and not an adapter's echo of it."""
        return frame.sequence == self._sequence and frame.kind >= mcu.Kind.IDENTITY

    def _next_sequence(self) -> int:
        """Never that of a cut."""
        self._sequence = self._sequence % mcu.MAX_SEQUENCE + 1
        return self._sequence
