"""A Dynamixel Protocol 2.0 bus seen from its host; see :class:`sim_harness.firmware.Firmware`.

A packet with a wrong CRC or for an absent node gets no answer, as on the real bus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from protocol import xl330
from protocol.dynamixel import (
    BROADCAST_ID,
    ErrorNumber,
    Frame,
    Instruction,
    Parser,
    Status,
    make_fast_status,
    make_status,
    parse_read,
    parse_sync_read,
    parse_sync_write,
    parse_write,
)
from protocol.dynamixel_nodes import NODES
from protocol.errors import ConfigError, WireError
from protocol.register import Register
from protocol.robot_spec import Imu, Joint
from sim_harness.imu import ImuNode
from sim_harness.node import FIRMWARE_VERSION, Node
from sim_harness.servo import Servo
from sim_harness.wire_end import Attitude, Demand, Reading, Reply


class DynamixelFirmware:
    """All nodes of one bus: those of the joints, and an IMU if there is one.

    Attributes:
        frames: valid instruction packets seen.
        absent: ids of nodes that neither hear nor answer.
    """

    def __init__(self, nodes: Sequence[Node], imu: ImuNode | None = None) -> None:
        self._shafts, self._imu = nodes, imu
        everybody = nodes if imu is None else (*nodes, imu)
        self._nodes = {node.id: node for node in everybody}
        self._parser = Parser()
        self.frames = 0
        self.absent: set[int] = set()

    @property
    def crc_errors(self) -> int:
        """Packets ignored because their CRC was wrong."""
        return self._parser.crc_errors

    def demands(self, now_ns: int) -> Sequence[Demand]:
        """What each joint's node asks of its motor at ``now_ns``; 0 where there is none."""
        for node in self._shafts:
            node.elapse(now_ns)
        return [node.demand for node in self._shafts]

    def restart(self, node_id: int) -> None:
        """RAM returns to its initial values, EEPROM stays."""
        self._nodes[node_id].reboot()

    def sense(self, readings: Sequence[Reading]) -> None:
        """Give every joint's node, in bus order, what its sensors see."""
        for node, reading in zip(self._shafts, readings, strict=True):
            node.sense(reading)

    def feel(self, attitude: Attitude) -> None:
        """Give the IMU what it feels."""
        if self._imu is not None:
            self._imu.feel(attitude)

    def receive(self, data: bytes, now_ns: int) -> list[Reply]:
        """Take bytes from the host; return the answers in the order they go on the wire."""
        replies: list[Reply] = []
        for frame in self._parser.feed(data):
            if frame.instruction != Instruction.STATUS:
                self.frames += 1
                replies += self._instruct(frame, now_ns)
        return replies

    def _instruct(self, frame: Frame, now_ns: int) -> list[Reply]:
        for node in self._nodes.values():
            node.elapse(now_ns)
        try:
            if frame.instruction in _SYNC:
                return self._sync(frame, now_ns)
            return self._single(frame, now_ns)
        except WireError:
            return self._refuse(frame, ErrorNumber.DATA_LENGTH)

    def _single(self, frame: Frame, now_ns: int) -> list[Reply]:
        """An instruction for one node, or for all; only a broadcast ping is answered by all."""
        if frame.instruction not in _SINGLE:
            return self._refuse(frame, ErrorNumber.INSTRUCTION)
        level, answer = _SINGLE[frame.instruction]
        replies = []
        for node in self._addressed(frame.id):
            node.hear(now_ns)
            wanted = node.return_level >= level
            status = answer(node, frame)
            if wanted and (frame.id != BROADCAST_ID or frame.instruction == Instruction.PING):
                replies.append(_reply(node, status))
        return replies

    def _sync(self, frame: Frame, now_ns: int) -> list[Reply]:
        if frame.id != BROADCAST_ID:
            return self._refuse(frame, ErrorNumber.INSTRUCTION)
        if frame.instruction == Instruction.SYNC_WRITE:
            return self._sync_write(frame, now_ns)
        asked = parse_sync_read(frame)
        answers = []
        for node_id in asked.nodes:
            if not self._hears(node_id):
                break  # the next node waits for this one's answer
            node = self._nodes[node_id]
            node.hear(now_ns)
            answers.append((node, node.read(asked.address, asked.length)))
        if frame.instruction == Instruction.SYNC_READ:
            return [_reply(node, status) for node, status in answers if node.return_level >= 1]
        if len(answers) < len(asked.nodes) or not all(node.return_level for node, _ in answers):
            return []  # a packet with a hole never gets its CRC
        return [_fast_reply(answers, asked.length)]

    def _sync_write(self, frame: Frame, now_ns: int) -> list[Reply]:
        asked = parse_sync_write(frame)
        for node_id, data in asked.data:
            if self._hears(node_id):
                self._nodes[node_id].hear(now_ns)
                self._nodes[node_id].write(asked.address, data)
        return []

    def _addressed(self, node_id: int) -> list[Node]:
        if node_id == BROADCAST_ID:
            hearing = [node for node in self._nodes.values() if self._hears(node.id)]
            return sorted(hearing, key=lambda node: node.id)
        return [self._nodes[node_id]] if self._hears(node_id) else []

    def _hears(self, node_id: int) -> bool:
        return node_id in self._nodes and node_id not in self.absent

    def _refuse(self, frame: Frame, error: ErrorNumber) -> list[Reply]:
        if frame.id == BROADCAST_ID:
            return []
        nodes = self._addressed(frame.id)
        return [_reply(node, node.refuse(error)) for node in nodes if node.return_level == 2]


def dynamixel_nodes(joints: Sequence[Joint], imu: Imu | None, baud: int) -> DynamixelFirmware:
    """Factory-new nodes with the ids of ``joints`` and ``imu``, at ``baud``.

    Raises:
        ConfigError: no such node can speak that baud rate, or an actuated joint has no motor.
    """
    if baud not in xl330.BAUD_RATES:
        raise ConfigError(f"bus.baud {baud} is none of {list(xl330.BAUD_RATES)}")
    for joint in joints:
        if joint.actuated and NODES[joint.model].mode is None:
            raise ConfigError(f"joints.{joint.name}: {joint.model} has no motor to actuate it")
    initial = {
        xl330.FIRMWARE_VERSION: FIRMWARE_VERSION,
        xl330.BAUD_RATE: xl330.BAUD_RATES.index(baud),
    }
    nodes = [_node(joint, initial) for joint in joints]
    return DynamixelFirmware(nodes, None if imu is None else ImuNode(imu.id, initial))


def _node(joint: Joint, initial: Mapping[Register, int]) -> Node:
    model = NODES[joint.model]
    return Node(joint.id, model, initial) if model.mode is None else Servo(joint.id, model, initial)


def _reply(node: Node, status: Status) -> Reply:
    packet = make_status(status.id, status.params, status.error, status.alert)
    return Reply(node.return_delay_ns, packet)


def _fast_reply(answers: Sequence[tuple[Node, Status]], length: int) -> Reply:
    """One packet for all; a node that cannot read the registers sends zeros and its error."""
    blocks = [status._replace(params=status.params.ljust(length, b"\0")) for _, status in answers]
    return Reply(answers[0][0].return_delay_ns, make_fast_status(blocks))


def _read(node: Node, frame: Frame) -> Status:
    return node.read(*parse_read(frame))


def _write(node: Node, frame: Frame) -> Status:
    return node.write(*parse_write(frame))


def _reg_write(node: Node, frame: Frame) -> Status:
    return node.reg_write(*parse_write(frame))


_Answer = Callable[[Node, Frame], Status]

_SYNC = (Instruction.SYNC_READ, Instruction.SYNC_WRITE, Instruction.FAST_SYNC_READ)
_SINGLE: dict[int, tuple[int, _Answer]] = {
    Instruction.PING: (0, lambda node, _: node.ping()),
    Instruction.READ: (1, _read),
    Instruction.WRITE: (2, _write),
    Instruction.REG_WRITE: (2, _reg_write),
    Instruction.ACTION: (2, lambda node, _: node.action()),
    Instruction.REBOOT: (2, lambda node, _: node.reboot()),
}
"""Instruction → least status return level at which it is answered, and how."""
