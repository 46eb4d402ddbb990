"""A Feetech SMS/STS bus seen from its host; see :class:`sim_harness.firmware.Firmware`.

A packet with a wrong checksum, for an absent node or without sense gets no answer. A write that a
register does not take is answered like any other: only reading back tells.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol import sts3215
from protocol.errors import ConfigError, WireError
from protocol.feetech import (
    BROADCAST_ID,
    Frame,
    Instruction,
    Parser,
    make_status,
    parse_read,
    parse_sync_read,
    parse_sync_write,
    parse_write,
)
from protocol.robot_spec import Joint
from sim_harness.feetech_servo import FeetechServo
from sim_harness.wire_end import Attitude, Demand, Reading, Reply

_ALWAYS_ANSWERED = (Instruction.PING, Instruction.READ)


class FeetechFirmware:
    """All servos of one bus.

    Attributes:
        frames: valid instruction packets seen.
        absent: ids of servos that neither hear nor answer.
    """

    def __init__(self, servos: Sequence[FeetechServo]) -> None:
        self._nodes = {servo.id: servo for servo in servos}
        self._parser = Parser()
        self.frames = 0
        self.absent: set[int] = set()

    @property
    def crc_errors(self) -> int:
        """Packets ignored because their checksum was wrong."""
        return self._parser.crc_errors

    def demands(self, now_ns: int) -> Sequence[Demand]:
        """Where each servo is to go."""
        return [servo.setpoint for servo in self._nodes.values()]

    def restart(self, node_id: int) -> None:
        """What was not written to unlocked EEPROM is gone."""
        self._nodes[node_id].power_up()

    def sense(self, readings: Sequence[Reading]) -> None:
        """Give every servo, in bus order, what its sensors see."""
        for servo, reading in zip(self._nodes.values(), readings, strict=True):
            servo.sense(reading)

    def feel(self, attitude: Attitude) -> None:
        """There is no IMU on such a bus."""

    def receive(self, data: bytes, now_ns: int) -> list[Reply]:
        """Take bytes from the host; return the answers in the order they go on the wire."""
        replies: list[Reply] = []
        for frame in self._parser.feed(data):
            self.frames += 1
            try:
                replies += self._instruct(frame)
            except WireError:
                continue
        return replies

    def _instruct(self, frame: Frame) -> list[Reply]:
        if frame.code == Instruction.SYNC_READ:
            return self._sync_read(frame)
        if frame.code == Instruction.SYNC_WRITE:
            asked = parse_sync_write(frame)
            for node, data in asked.data:
                if self._hears(node):
                    self._nodes[node].write(asked.address, data)
            return []
        return [
            _reply(servo, params)
            for servo in self._addressed(frame.id)
            if (params := _obey(servo, frame)) is not None and _is_answered(servo, frame)
        ]

    def _sync_read(self, frame: Frame) -> list[Reply]:
        asked = parse_sync_read(frame)
        replies = []
        for node in asked.nodes:
            if not self._hears(node):
                break  # the next servo waits for this one's answer
            servo = self._nodes[node]
            replies.append(_reply(servo, servo.read(asked.address, asked.length)))
        return replies

    def _addressed(self, node: int) -> list[FeetechServo]:
        if node == BROADCAST_ID:
            hearing = [servo for servo in self._nodes.values() if self._hears(servo.id)]
            return sorted(hearing, key=lambda servo: servo.id)
        return [self._nodes[node]] if self._hears(node) else []

    def _hears(self, node: int) -> bool:
        return node in self._nodes and node not in self.absent


def feetech_nodes(joints: Sequence[Joint], baud: int) -> FeetechFirmware:
    """Factory-new servos with the ids of ``joints``, at ``baud``.

    Raises:
        ConfigError: no such servo can speak that baud rate, or a joint is another node.
    """
    if baud not in sts3215.BAUD_RATES:
        raise ConfigError(f"bus.baud {baud} is none of {list(sts3215.BAUD_RATES)}")
    for joint in joints:
        if joint.model != "sts3215":
            raise ConfigError(f"joints.{joint.name}: {joint.model} is no Feetech servo")
    index = sts3215.BAUD_RATES.index(baud)
    return FeetechFirmware([FeetechServo(joint.id, {sts3215.BAUD_RATE: index}) for joint in joints])


def _obey(servo: FeetechServo, frame: Frame) -> bytes | None:
    """Data of the answer; None for an instruction the servo does not know."""
    if frame.code == Instruction.PING:
        return b""
    if frame.code == Instruction.READ:
        return servo.read(*parse_read(frame))
    if frame.code == Instruction.WRITE:
        servo.write(*parse_write(frame))
    elif frame.code == Instruction.REG_WRITE:
        servo.reg_write(*parse_write(frame))
    elif frame.code == Instruction.ACTION:
        servo.action()
    else:
        return None
    return b""


def _is_answered(servo: FeetechServo, frame: Frame) -> bool:
    """Of the broadcasts only a ping is answered, by all."""
    if frame.id == BROADCAST_ID:
        return frame.code == Instruction.PING
    return frame.code in _ALWAYS_ANSWERED or servo.answers_writes


def _reply(servo: FeetechServo, params: bytes) -> Reply:
    return Reply(servo.return_delay_ns, make_status(servo.id, params, servo.alarm))
