"""The Feetech SMS/STS bus as bytes: ``make_`` builds packets, ``parse_`` reads them. No I/O.

::

    FF FF | id | length | instruction | parameters | checksum

``length`` counts everything after itself; the checksum is the inverted sum of everything between
header and itself. In an answer the alarm byte stands where the instruction does, so only who spoke
last tells the one from the other. Multi-byte values are little-endian. Source: Feetech,
"Communication Protocol User Manual" (doc.feetech.cn), as its own SDK (``scservo_sdk``) speaks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum, IntFlag
from typing import NamedTuple

from protocol.errors import WireError
from protocol.register_requests import ReadRequest, SyncRead, SyncWrite, WriteRequest, pairs

HEADER = b"\xff\xff"
BROADCAST_ID = 0xFE
MAX_ID = 0xFD
MAX_PACKET_BYTES = 4 + 0xFE
"""The largest length field there is, so that no header can hide in it."""

PADDING = bytes(MAX_PACKET_BYTES)
"""Enough to end any packet whose length arrived too large, and no header in it.

The protocol knows no pause that would end one: until so many bytes have come, a node that waits for
the rest takes every new packet for it. A doubled broadcast id is enough, it reads as a length of
254.
"""

_PREFIX_BYTES = 4
_LEAST_LENGTH = 2


class Instruction(IntEnum):
    """What a packet asks for."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


class Alarm(IntFlag):
    """Bits of an answer's alarm byte, and of the servo's status register."""

    NONE = 0
    VOLTAGE = 1
    ENCODER = 2
    TEMPERATURE = 4
    CURRENT = 8
    OVERLOAD = 32


class Frame(NamedTuple):
    """One packet whose checksum was right; ``code`` is an instruction or an alarm byte."""

    id: int
    code: int
    params: bytes


class Status(NamedTuple):
    """One node's answer. ``alarm`` is about the node's health, not about the question."""

    id: int
    alarm: int
    params: bytes


def make_packet(node: int, code: int, params: bytes = b"") -> bytes:
    """Any packet. Raises WireError for an id or a length the bus cannot express."""
    length = len(params) + _LEAST_LENGTH
    if not (0 <= node <= MAX_ID or node == BROADCAST_ID):
        raise WireError(f"node id {node} is outside 0..{MAX_ID}")
    if _PREFIX_BYTES + length > MAX_PACKET_BYTES:
        raise WireError(f"packet of {_PREFIX_BYTES + length} bytes exceeds {MAX_PACKET_BYTES}")
    body = bytes((node, length, code)) + params
    return HEADER + body + bytes((checksum(body),))


def make_ping(node: int) -> bytes:
    """Who is there? The answer carries nothing but the alarm byte."""
    return make_packet(node, Instruction.PING)


def make_read(node: int, address: int, length: int) -> bytes:
    """Read ``length`` bytes of the control table."""
    return make_packet(node, Instruction.READ, bytes((address, length)))


def make_write(node: int, address: int, data: bytes) -> bytes:
    """Write to the control table now."""
    return make_packet(node, Instruction.WRITE, bytes((address,)) + data)


def make_reg_write(node: int, address: int, data: bytes) -> bytes:
    """Prepare a write that :func:`make_action` releases."""
    return make_packet(node, Instruction.REG_WRITE, bytes((address,)) + data)


def make_action(node: int = BROADCAST_ID) -> bytes:
    """Release prepared writes."""
    return make_packet(node, Instruction.ACTION)


def make_sync_read(address: int, length: int, nodes: Sequence[int]) -> bytes:
    """Read the same registers of several nodes; each answers by its own packet, in order."""
    params = bytes((address, length, *nodes))
    return make_packet(BROADCAST_ID, Instruction.SYNC_READ, params)


def make_sync_write(address: int, length: int, data: Iterable[tuple[int, bytes]]) -> bytes:
    """Write ``length`` bytes to each ``(node, bytes)``. Nobody answers."""
    params = [bytes((address, length))]
    params += [bytes((node,)) + value for node, value in data]
    return make_packet(BROADCAST_ID, Instruction.SYNC_WRITE, b"".join(params))


def make_status(node: int, params: bytes = b"", alarm: int = 0) -> bytes:
    """A node's answer."""
    return make_packet(node, alarm, params)


def parse_status(frame: Frame) -> Status:
    """A node's answer. Raises WireError for an alarm byte or an id that no answer has."""
    if frame.id == BROADCAST_ID or frame.code > 0x7F:
        raise WireError(f"packet of node {frame.id} is no answer: {frame.code:#04x}")
    return Status(frame.id, frame.code, frame.params)


def parse_read(frame: Frame) -> ReadRequest:
    """Parameters of READ. Raises WireError for a wrong length."""
    if len(frame.params) != 2:
        raise WireError(f"read request with {len(frame.params)} parameter bytes instead of 2")
    return ReadRequest(*frame.params)


def parse_write(frame: Frame) -> WriteRequest:
    """Parameters of WRITE or REG_WRITE. Raises WireError for a missing address or no data."""
    if len(frame.params) < 2:
        raise WireError(f"write request with {len(frame.params)} parameter bytes")
    return WriteRequest(frame.params[0], frame.params[1:])


def parse_sync_read(frame: Frame) -> SyncRead:
    """Parameters of SYNC_READ. Raises WireError if no node is named."""
    if len(frame.params) < 3:
        raise WireError(f"sync read with {len(frame.params)} parameter bytes")
    return SyncRead(frame.params[0], frame.params[1], tuple(frame.params[2:]))


def parse_sync_write(frame: Frame) -> SyncWrite:
    """Parameters of SYNC_WRITE. Raises WireError unless they are whole ``(node, data)`` pairs."""
    if len(frame.params) < 4:
        raise WireError(f"sync write with {len(frame.params)} parameter bytes")
    address, length = frame.params[:2]
    stride, body = length + 1, frame.params[2:]
    if length == 0 or len(body) % stride:
        raise WireError(f"sync write of {len(body)} bytes is no multiple of {stride}")
    return SyncWrite(address, pairs(body, length))


def checksum(body: bytes | bytearray) -> int:
    """Inverted sum of ``body``, which is what stands between header and checksum."""
    return ~sum(body) & 0xFF


class Parser:
    """Bytes in, frames out; resynchronises on garbage and never holds more than one partial packet.

    A sum of bytes misses what a CRC finds (two errors that cancel, bytes that change places), and a
    packet may begin inside another. Whoever asked has to check id and length of the answer.

    Attributes:
        crc_errors: packets whose checksum was wrong.
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
        while (size := self._align()) is not None and len(buffer) >= size:
            if checksum(buffer[2 : size - 1]) == buffer[size - 1]:
                frame = Frame(buffer[2], buffer[4], bytes(buffer[5 : size - 1]))
                del buffer[:size]
                return frame
            self.crc_errors += 1
            self._discard(1)
        return None

    def _align(self) -> int | None:
        """Drop bytes until a plausible packet starts the buffer; its size once that is known."""
        buffer = self._buffer
        while True:
            start = buffer.find(HEADER)
            if start < 0:
                self._discard(len(buffer) - buffer.endswith(b"\xff"))
                return None
            self._discard(start)
            if len(buffer) < _PREFIX_BYTES:
                return None
            if buffer[2] != 0xFF and _LEAST_LENGTH <= buffer[3] < 0xFF:
                return _PREFIX_BYTES + buffer[3]
            self._discard(1)

    def _discard(self, count: int) -> None:
        del self._buffer[:count]
        self.discarded_bytes += count
