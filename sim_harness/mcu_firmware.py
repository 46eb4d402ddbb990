"""A microcontroller with every joint, seen from its host.

See :class:`sim_harness.firmware.Firmware`. It does what ``protocol/mcu/wombet_link.c`` does, order
by order; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protocol import mcu_link as mcu
from protocol.errors import ConfigError, WireError
from protocol.robot_spec import Joint
from protocol.xl330 import RAD_PER_COUNT
from sim_harness.wire_end import Attitude, Brake, Demand, Reading, Reply

IDENTITY_MODEL, IDENTITY_FIRMWARE = 1, 100
CURRENT_MAX_MA = 3000
"""Of the simulated board's motor drivers."""
DAMPING_A_S_RAD = 0.1
"""How a stop brakes."""
OVERLOADED = 1
"""The fault this board knows."""


class McuFirmware:
    """One board; lists have one entry per channel.

    Attributes:
        frames: sound frames of our version seen.
        absent: while any channel's id is in here, the board neither hears nor answers.
    """

    def __init__(self, motors: Sequence[bool]) -> None:
        self._motors = motors
        self.frames = 0
        self.absent: set[int] = set()
        self._readings: Sequence[Reading] = [Reading(0, 0.0, 0.0, 0.0, 0.0)] * len(motors)
        self._answers: dict[int, Callable[[mcu.Frame, int], bytes]] = {
            mcu.Kind.HELLO: self._hello,
            mcu.Kind.READ: self._read,
            mcu.Kind.COMMAND: self._command,
            mcu.Kind.POWER: self._power,
        }
        self.restart(0)

    @property
    def crc_errors(self) -> int:
        """What was ignored because it was no sound frame."""
        return self._parser.crc_errors

    def restart(self, node_id: int) -> None:
        """One board: a power cycle of any channel is one of all."""
        self._parser = mcu.Parser()
        self._sequence: int | None = None
        self._limit_ma = 0
        self._power_off()

    def demands(self, now_ns: int) -> Sequence[Demand]:
        """Currents in force, or brakes after a deadline."""
        self._elapse(now_ns)
        brake = Brake(DAMPING_A_S_RAD, self._limit_ma * mcu.AMPERE_PER_COUNT)
        if self._stopped:
            return [brake if motor else 0.0 for motor in self._motors]
        return [goal * mcu.AMPERE_PER_COUNT for goal in self._goal_ma]

    def sense(self, readings: Sequence[Reading]) -> None:
        """What every channel's sensors see; a fault takes the torque away."""
        self._readings = [*readings]
        if self._faulty():
            self._power_off()

    def feel(self, attitude: Attitude) -> None:
        """This link has no frame for an IMU."""

    def receive(self, data: bytes, now_ns: int) -> list[Reply]:
        """Take bytes from the host; return the answers in the order they go on the wire."""
        if self.absent:
            return []
        self._elapse(now_ns)
        replies = []
        for frame in self._parser.feed(data):
            self.frames += 1
            try:
                answer = self._answers.get(frame.kind, _unknown)(frame, now_ns)
            except WireError:
                continue
            if answer:
                replies.append(Reply(0, answer))
        return replies

    def _hello(self, frame: mcu.Frame, now_ns: int) -> bytes:
        _expect_nothing(frame)
        self._power_off()
        self._sequence = None
        motors = sum(motor << channel for channel, motor in enumerate(self._motors))
        identity = mcu.Identity(IDENTITY_MODEL, IDENTITY_FIRMWARE, motors, len(self._motors))
        return mcu.make_identity(frame.sequence, identity)

    def _read(self, frame: mcu.Frame, now_ns: int) -> bytes:
        _expect_nothing(frame)
        return mcu.make_state(frame.sequence, self._state())

    def _command(self, frame: mcu.Frame, now_ns: int) -> bytes:
        deadline_ms, goal_ma = mcu.parse_command(frame)
        obeyed = self._powered and not self._stopped and self._is_newer(frame.sequence)
        if obeyed and _is_deadline(deadline_ms) and len(goal_ma) == len(self._motors):
            self._sequence, self._deadline_ms = frame.sequence, deadline_ms
            self._heard_ns = now_ns
            self._goal_ma = [
                min(max(goal, -self._limit_ma), self._limit_ma) if motor else 0
                for motor, goal in zip(self._motors, goal_ma, strict=True)
            ]
        return b""

    def _power(self, frame: mcu.Frame, now_ns: int) -> bytes:
        self._switch(mcu.parse_power(frame), frame.sequence, now_ns)
        return mcu.make_state(frame.sequence, self._state())

    def _switch(self, power: mcu.Power, sequence: int, now_ns: int) -> None:
        sound = power.on == 1 and _is_deadline(power.deadline_ms)
        if power.on == 0:
            self._power_off()
        elif sound and self._is_newer(sequence) and not self._faulty():
            self._power_off()
            self._powered, self._sequence = True, sequence
            self._deadline_ms, self._heard_ns = power.deadline_ms, now_ns
            self._limit_ma = min(power.current_max_ma, CURRENT_MAX_MA)

    def _power_off(self) -> None:
        self._powered = self._stopped = False
        self._deadline_ms, self._heard_ns = 0, 0
        self._goal_ma = [0] * len(self._motors)

    def _elapse(self, now_ns: int) -> None:
        silence_ms = (now_ns - self._heard_ns) // 1_000_000
        if self._powered and silence_ms > self._deadline_ms and not self._stopped:
            self._stopped = True
            self._goal_ma = [0] * len(self._motors)

    def _is_newer(self, sequence: int) -> bool:
        return self._sequence is None or mcu.is_newer(sequence, self._sequence)

    def _faulty(self) -> bool:
        return any(reading.overloaded for reading in self._readings)

    def _state(self) -> mcu.State:
        flags = mcu.Flag.POWERED * self._powered | mcu.Flag.STOPPED * self._stopped
        supply_v = self._readings[0].voltage_v
        return mcu.State(
            flags=mcu.Flag(flags),
            deadline_ms=self._deadline_ms,
            sequence=self._sequence or 0,
            supply_mv=round(supply_v / mcu.VOLT_PER_COUNT),
            channels=tuple(map(_channel, self._readings, self._goal_ma)),
        )


def mcu_board(joints: Sequence[Joint]) -> McuFirmware:
    """A board with a channel for each of ``joints``, in their order.

    Raises:
        ConfigError: a joint is another kind of node.
    """
    for joint in joints:
        if joint.model not in ("mcu-motor", "mcu-encoder"):
            raise ConfigError(f"joints.{joint.name}: {joint.model} is no microcontroller's channel")
    return McuFirmware([joint.model == "mcu-motor" for joint in joints])


def _channel(reading: Reading, goal_ma: int) -> mcu.Channel:
    return mcu.Channel(
        position=round(reading.counts * RAD_PER_COUNT / mcu.RAD_PER_COUNT),
        velocity=round(reading.velocity_rad_s / mcu.RAD_S_PER_COUNT),
        current=round(reading.current_a / mcu.AMPERE_PER_COUNT),
        goal=goal_ma,
        temperature_c=round(reading.temperature_c),
        fault=OVERLOADED if reading.overloaded else 0,
    )


def _is_deadline(deadline_ms: int) -> bool:
    return 0 < deadline_ms <= mcu.MAX_DEADLINE_MS


def _expect_nothing(frame: mcu.Frame) -> None:
    if frame.payload:
        raise WireError(f"a frame of kind {frame.kind:#04x} has no payload")


def _unknown(frame: mcu.Frame, now_ns: int) -> bytes:
    return b""
