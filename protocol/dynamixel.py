"""Dynamixel Protocol 2.0 as bytes: ``make_`` builds packets, ``parse_`` reads them. No I/O.

::

    FF FF FD 00 | id | length (LE) | instruction | parameters, stuffed | CRC-16 (LE)

``length`` counts everything after itself. In a status packet (instruction 0x55) the first parameter
is the error byte. Source: ROBOTIS e-manual, "DYNAMIXEL Protocol 2.0". The same code serves the
driver on the robot and the firmware emulation behind the harness.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from fastcrc import crc16

from protocol.errors import WireError
from protocol.register_requests import ReadRequest, SyncRead, SyncWrite, WriteRequest, pairs

HEADER = b"\xff\xff\xfd\x00"
BROADCAST_ID = 0xFE
MAX_ID = 0xFC
MAX_PACKET_BYTES = 1024
ALERT = 0x80
"""Bit of the error byte: the node has a hardware error (register 70 says which)."""

_PREFIX_BYTES = 7
_PATTERN, _STUFFED = b"\xff\xff\xfd", b"\xff\xff\xfd\xfd"


class Instruction(IntEnum):
    """What a packet asks for, or STATUS for an answer."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    REBOOT = 0x08
    STATUS = 0x55
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A


class ErrorNumber(IntEnum):
    """Low seven bits of a status packet's error byte."""

    NONE = 0
    RESULT_FAIL = 1
    INSTRUCTION = 2
    CRC = 3
    DATA_RANGE = 4
    DATA_LENGTH = 5
    DATA_LIMIT = 6
    ACCESS = 7


class Frame(NamedTuple):
    """One packet whose CRC was right, stuffing removed."""

    id: int
    instruction: int
    params: bytes


class Status(NamedTuple):
    """One node's answer. ``error`` is an :class:`ErrorNumber` (or a number it does not know)."""

    id: int
    error: int
    alert: bool
    params: bytes


def make_packet(node: int, instruction: int, params: bytes = b"") -> bytes:
    """Any packet. Raises WireError if it would exceed ``MAX_PACKET_BYTES``."""
    return _seal(node, instruction, params.replace(_PATTERN, _STUFFED))


def make_ping(node: int) -> bytes:
    """Who is there? Answer: model number (2 bytes), firmware version (1 byte)."""
    return make_packet(node, Instruction.PING)


def make_read(node: int, address: int, length: int) -> bytes:
    """Read ``length`` bytes of the control table."""
    return make_packet(node, Instruction.READ, struct.pack("<HH", address, length))


def make_write(node: int, address: int, data: bytes) -> bytes:
    """Write to the control table now."""
    return make_packet(node, Instruction.WRITE, struct.pack("<H", address) + data)


def make_reg_write(node: int, address: int, data: bytes) -> bytes:
    """Prepare a write that :func:`make_action` releases."""
    return make_packet(node, Instruction.REG_WRITE, struct.pack("<H", address) + data)


def make_action(node: int = BROADCAST_ID) -> bytes:
    """Release prepared writes."""
    return make_packet(node, Instruction.ACTION)


def make_reboot(node: int) -> bytes:
    """Restart the node."""
    return make_packet(node, Instruction.REBOOT)


def make_sync_read(address: int, length: int, nodes: Sequence[int]) -> bytes:
    """Read the same registers of several nodes; each answers by its own packet, in order."""
    params = struct.pack("<HH", address, length) + bytes(nodes)
    return make_packet(BROADCAST_ID, Instruction.SYNC_READ, params)


def make_fast_sync_read(address: int, length: int, nodes: Sequence[int]) -> bytes:
    """As :func:`make_sync_read`, but the nodes build one common status packet."""
    params = struct.pack("<HH", address, length) + bytes(nodes)
    return make_packet(BROADCAST_ID, Instruction.FAST_SYNC_READ, params)


def make_sync_write(address: int, length: int, data: Iterable[tuple[int, bytes]]) -> bytes:
    """Write ``length`` bytes to each ``(node, bytes)``. Nobody answers."""
    params = [struct.pack("<HH", address, length)]
    params += [bytes((node,)) + value for node, value in data]
    return make_packet(BROADCAST_ID, Instruction.SYNC_WRITE, b"".join(params))


def make_status(node: int, params: bytes = b"", error: int = 0, alert: bool = False) -> bytes:
    """A node's answer."""
    return make_packet(node, Instruction.STATUS, bytes((_error_byte(error, alert),)) + params)


def make_fast_status(answers: Sequence[Status]) -> bytes:
    """The common answer to a fast sync read: ``(error, id, data, CRC so far)`` for each node.

    The last node's CRC is the packet's. Nothing is stuffed, because blocks have a fixed stride.
    """
    body = b"".join(
        bytes((_error_byte(answer.error, answer.alert), answer.id)) + answer.params + b"\0\0"
        for answer in answers
    )
    packet = bytearray(_seal(BROADCAST_ID, Instruction.STATUS, body[:-2]))
    end = _PREFIX_BYTES + 1
    for answer in answers:
        end += len(answer.params) + 4
        struct.pack_into("<H", packet, end - 2, crc16.umts(bytes(packet[: end - 2])))
    return bytes(packet)


def parse_status(frame: Frame) -> Status:
    """A single node's answer. Raises WireError if the frame is an instruction."""
    if frame.instruction != Instruction.STATUS or not frame.params:
        raise WireError(f"packet of node {frame.id} is no status packet: {frame.instruction:#04x}")
    error = frame.params[0]
    return Status(frame.id, error & ~ALERT, bool(error & ALERT), frame.params[1:])


def parse_fast_status(frame: Frame, length: int) -> list[Status]:
    """Answers to a fast sync read of ``length`` bytes, in the order the nodes were asked.

    Raises:
        WireError: not such an answer, or not a whole number of blocks.
    """
    stride = length + 4
    if frame.id != BROADCAST_ID or frame.instruction != Instruction.STATUS:
        raise WireError(f"packet of node {frame.id} does not answer a fast sync read")
    if (len(frame.params) + 2) % stride:
        raise WireError(f"{len(frame.params)} bytes are not fast sync blocks of {stride} bytes")
    answers = []
    for start in range(0, len(frame.params), stride):
        error, node = frame.params[start], frame.params[start + 1]
        data = frame.params[start + 2 : start + 2 + length]
        answers.append(Status(node, error & ~ALERT, bool(error & ALERT), data))
    return answers


def parse_read(frame: Frame) -> ReadRequest:
    """Parameters of READ. Raises WireError for a wrong length."""
    if len(frame.params) != 4:
        raise WireError(f"read request with {len(frame.params)} parameter bytes instead of 4")
    return ReadRequest(*struct.unpack("<HH", frame.params))


def parse_write(frame: Frame) -> WriteRequest:
    """Parameters of WRITE or REG_WRITE. Raises WireError for a missing address or no data."""
    if len(frame.params) < 3:
        raise WireError(f"write request with {len(frame.params)} parameter bytes")
    return WriteRequest(int.from_bytes(frame.params[:2], "little"), frame.params[2:])


def parse_sync_read(frame: Frame) -> SyncRead:
    """Parameters of SYNC_READ or FAST_SYNC_READ. Raises WireError if no node is named."""
    if len(frame.params) < 5:
        raise WireError(f"sync read with {len(frame.params)} parameter bytes")
    address, length = struct.unpack_from("<HH", frame.params)
    return SyncRead(address, length, tuple(frame.params[4:]))


def parse_sync_write(frame: Frame) -> SyncWrite:
    """Parameters of SYNC_WRITE. Raises WireError unless they are whole ``(node, data)`` pairs."""
    if len(frame.params) < 6:
        raise WireError(f"sync write with {len(frame.params)} parameter bytes")
    address, length = struct.unpack_from("<HH", frame.params)
    stride, body = length + 1, frame.params[4:]
    if length == 0 or len(body) % stride:
        raise WireError(f"sync write of {len(body)} bytes is no multiple of {stride}")
    return SyncWrite(address, pairs(body, length))


class Parser:
    """Bytes in, frames out; resynchronises on garbage and never holds more than one partial packet.

    Attributes:
        crc_errors: packets whose CRC was wrong.
        discarded_bytes: bytes that belonged to no valid packet.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.crc_errors = 0
        self.discarded_bytes = 0

    def reset(self) -> None:
        """Forget a partial packet, e.g. before a new transaction."""
        self._discard(len(self._buffer))

    def feed(self, data: bytes) -> list[Frame]:
        """Take received bytes; return the packets they complete, in order."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        buffer = self._buffer
        while (size := self._align()) is not None:
            if len(buffer) < size:
                if not self._restarted(size):
                    return None
            elif crc16.umts(bytes(buffer[: size - 2])) == int.from_bytes(
                buffer[size - 2 : size], "little"
            ):
                frame = _unpack(bytes(buffer[: size - 2]))
                del buffer[:size]
                return frame
            else:
                self.crc_errors += 1
                self._discard(1)
        return None

    def _align(self) -> int | None:
        """Drop bytes until a plausible packet starts the buffer; its size once that is known."""
        buffer = self._buffer
        while True:
            start = buffer.find(HEADER)
            if start < 0:
                self._discard(len(buffer) - _partial_header(buffer))
                return None
            self._discard(start)
            if len(buffer) < _PREFIX_BYTES:
                return None
            size = _PREFIX_BYTES + int.from_bytes(buffer[5:7], "little")
            if buffer[4] in (0xFD, 0xFF) or not _PREFIX_BYTES + 3 <= size <= MAX_PACKET_BYTES:
                self._discard(1)
                continue
            return size

    def _restarted(self, size: int) -> bool:
        """A header inside a stuffed body proves a cut-off packet: skip to the new one."""
        buffer = self._buffer
        unstuffed = buffer[4] == BROADCAST_ID and buffer[7:8] == b"\x55"
        start = buffer.find(HEADER, 1, size - 2)
        if start < 0 or unstuffed:
            return False
        self._discard(start)
        return True

    def _discard(self, count: int) -> None:
        del self._buffer[:count]
        self.discarded_bytes += count


def _seal(node: int, instruction: int, body: bytes) -> bytes:
    """Header, length and CRC around an already stuffed body."""
    if not (0 <= node <= MAX_ID or node == BROADCAST_ID):
        raise WireError(f"node id {node} is outside 0..{MAX_ID}")
    length = len(body) + 3
    if _PREFIX_BYTES + length > MAX_PACKET_BYTES:
        raise WireError(f"packet of {_PREFIX_BYTES + length} bytes exceeds {MAX_PACKET_BYTES}")
    packet = HEADER + struct.pack("<BHB", node, length, instruction) + body
    return packet + struct.pack("<H", crc16.umts(packet))


def _unpack(packet: bytes) -> Frame:
    """Frame of a packet whose CRC was right and has been cut off."""
    node, instruction, params = packet[4], packet[7], packet[8:]
    if not (node == BROADCAST_ID and instruction == Instruction.STATUS):
        params = params.replace(_STUFFED, _PATTERN)
    return Frame(node, instruction, params)


def _error_byte(error: int, alert: bool) -> int:
    return error | (ALERT if alert else 0)


def _partial_header(buffer: bytearray) -> int:
    """How many bytes at the end may be the beginning of a header."""
    return next((n for n in (3, 2, 1) if buffer.endswith(HEADER[:n])), 0)
