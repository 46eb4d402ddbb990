"""The link to a microcontroller of one's own, as bytes: ``make_`` builds, ``parse_`` reads. No I/O.

::

    00 | COBS( version | kind | sequence | payload | CRC-32 of all before it ) | 00

One node has every joint: channel n is the n-th. Each order carries a sequence, which its answer
repeats. Orders that move (a command, and power coming on) are obeyed only if their sequence is
newer than the last one obeyed, and they carry a deadline: if no newer command comes within it, the
node stops itself, damped, until power is ordered on anew. Numbers are little-endian. The other end
is ``protocol/mcu/wombet_link.c``; ``tests/golden/mcu_frames.json`` holds bytes that both speak.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum, IntFlag
from typing import NamedTuple

from protocol.cobs import DELIMITER, MAX_BYTES, stuff, unstuff
from protocol.errors import WireError

VERSION = 1
MAX_CHANNELS = 16
MAX_SEQUENCE = 0xFFFF
MAX_DEADLINE_MS = 2550
RAD_PER_COUNT = 1e-5
RAD_S_PER_COUNT = 1e-3
AMPERE_PER_COUNT = 1e-3
VOLT_PER_COUNT = 1e-3
MAX_CURRENT_A = 0x7FFF * AMPERE_PER_COUNT

_HEAD = struct.Struct("<BBH")
_CRC = struct.Struct("<I")
_COMMAND = struct.Struct("<HB")
_POWER = struct.Struct("<BHH")
_IDENTITY = struct.Struct("<HHHB")
_STATE = struct.Struct("<BBHHH")
_CHANNEL = struct.Struct("<iihhBB")
_LEAST_BYTES = _HEAD.size + _CRC.size


class Kind(IntEnum):
    """What a frame is; what the node says has the highest bit set."""

    HELLO = 0x01
    """Begin anew, without torque. Answered by IDENTITY, whatever the version."""
    READ = 0x02
    """Answered by STATE."""
    COMMAND = 0x03
    """Goals; not answered."""
    POWER = 0x04
    """Torque on or off; answered by STATE."""
    IDENTITY = 0x81
    STATE = 0x82


class Flag(IntFlag):
    """Of a node's state."""

    POWERED = 1
    STOPPED = 2
    """A deadline has passed: the motors are damped, goals are ignored."""


class Frame(NamedTuple):
    """One frame of our version whose CRC was right."""

    kind: int
    sequence: int
    payload: bytes


class Command(NamedTuple):
    """Goals in mA, one per channel, for at most ``deadline_ms``."""

    deadline_ms: int
    goal_ma: tuple[int, ...]


class Power(NamedTuple):
    """Torque on (1), until the deadline if no command comes, or off (0)."""

    on: int
    deadline_ms: int
    current_max_ma: int


class Identity(NamedTuple):
    """Who the node is; bit n of ``motors`` tells whether channel n has one."""

    model: int
    firmware: int
    motors: int
    channels: int


class Channel(NamedTuple):
    """One joint: counts of 10 µrad, of 1 mrad/s and of 1 mA, in the motor's own direction."""

    position: int
    velocity: int
    current: int
    goal: int
    temperature_c: int
    fault: int


class State(NamedTuple):
    """The whole node; ``sequence`` is that of the last command or power-on it obeyed."""

    flags: Flag
    deadline_ms: int
    sequence: int
    supply_mv: int
    channels: tuple[Channel, ...]


def make_frame(kind: int, sequence: int, payload: bytes = b"") -> bytes:
    """Any frame. Raises WireError for a payload or a number that it cannot hold."""
    body = _packed(_HEAD, VERSION, kind, sequence) + payload
    return DELIMITER + stuff(body + _CRC.pack(zlib.crc32(body))) + DELIMITER


def make_hello(sequence: int) -> bytes:
    """Who is there? Torque goes off."""
    return make_frame(Kind.HELLO, sequence)


def make_read(sequence: int) -> bytes:
    """How are you?"""
    return make_frame(Kind.READ, sequence)


def make_command(sequence: int, command: Command) -> bytes:
    """Follow these goals."""
    goals = command.goal_ma
    head = _packed(_COMMAND, command.deadline_ms, len(goals))
    return make_frame(Kind.COMMAND, sequence, head + _packed(_goals(len(goals)), *goals))


def make_power(sequence: int, power: Power) -> bytes:
    """Torque on or off."""
    return make_frame(Kind.POWER, sequence, _packed(_POWER, *power))


def make_identity(sequence: int, identity: Identity) -> bytes:
    """A node's answer to HELLO."""
    return make_frame(Kind.IDENTITY, sequence, _packed(_IDENTITY, *identity))


def make_state(sequence: int, state: State) -> bytes:
    """A node's answer to READ and POWER."""
    head = (state.flags, len(state.channels), state.deadline_ms, state.sequence, state.supply_mv)
    channels = [_packed(_CHANNEL, *channel) for channel in state.channels]
    return make_frame(Kind.STATE, sequence, b"".join((_packed(_STATE, *head), *channels)))


def parse_command(frame: Frame) -> Command:
    """Payload of COMMAND. Raises WireError unless it has as many goals as it says."""
    deadline_ms, count = _unpacked(_COMMAND, frame.payload[: _COMMAND.size], "command")
    return Command(deadline_ms, _unpacked(_goals(count), frame.payload[_COMMAND.size :], "goals"))


def parse_power(frame: Frame) -> Power:
    """Payload of POWER. Raises WireError for a wrong length."""
    return Power(*_unpacked(_POWER, frame.payload, "power order"))


def parse_identity(frame: Frame) -> Identity:
    """Payload of IDENTITY. Raises WireError for anything else."""
    _expect(frame, Kind.IDENTITY)
    return Identity(*_unpacked(_IDENTITY, frame.payload, "identity"))


def parse_state(frame: Frame) -> State:
    """Payload of STATE. Raises WireError for anything else."""
    _expect(frame, Kind.STATE)
    head, rest = frame.payload[: _STATE.size], frame.payload[_STATE.size :]
    flags, count, deadline_ms, sequence, supply_mv = _unpacked(_STATE, head, "state")
    if len(rest) != count * _CHANNEL.size:
        raise WireError(f"{len(rest)} bytes are not the state of {count} channels")
    channels = tuple(map(Channel._make, _CHANNEL.iter_unpack(rest)))
    return State(Flag(flags), deadline_ms, sequence, supply_mv, channels)


def is_newer(sequence: int, than: int) -> bool:
    """Whether a sequence comes after another one; they wrap around."""
    return 0 < (sequence - than) & MAX_SEQUENCE < 0x8000


class Parser:
    """Bytes in, frames out; whatever was damaged is lost up to the next zero, and no further.

    Attributes:
        crc_errors: what lay between two zeros and was no frame.
        foreign: sound frames of another version.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lost = False
        self.crc_errors = self.foreign = 0

    def reset(self) -> None:
        """Forget a partial frame, e.g. before a new transaction."""
        self._buffer.clear()
        self._lost = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take received bytes; return the frames they complete, in order."""
        *ended, rest = data.split(DELIMITER)
        frames = []
        for piece in ended:
            self._take(piece)
            if (frame := self._end()) is not None:
                frames.append(frame)
        self._take(rest)
        return frames

    def _take(self, piece: bytes) -> None:
        """More of a frame; of one that is too long nothing is kept."""
        self._lost = self._lost or len(self._buffer) + len(piece) > MAX_BYTES + 1
        if self._lost:
            self._buffer.clear()
        else:
            self._buffer += piece

    def _end(self) -> Frame | None:
        """What the buffer holds, now that a zero came."""
        stuffed, lost = bytes(self._buffer), self._lost
        self.reset()
        if not stuffed and not lost:
            return None  # between two frames
        body = b"" if lost else _sound(stuffed)
        if not body:
            self.crc_errors += 1
            return None
        version, kind, sequence = _HEAD.unpack_from(body)
        if version != VERSION:
            self.foreign += 1
            return None
        return Frame(kind, sequence, body[_HEAD.size :])


def _sound(stuffed: bytes) -> bytes:
    """Head and payload of a frame; nothing if its bytes cannot be trusted."""
    try:
        data = unstuff(stuffed)
    except WireError:
        return b""
    body, crc = data[: -_CRC.size], data[-_CRC.size :]
    sound = len(data) >= _LEAST_BYTES and _CRC.pack(zlib.crc32(body)) == crc
    return body if sound else b""


def _goals(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}h")


def _expect(frame: Frame, kind: Kind) -> None:
    if frame.kind != kind:
        raise WireError(f"a frame of kind {frame.kind:#04x} is no {kind.name}")


def _packed(layout: struct.Struct, *values: int) -> bytes:
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise WireError(f"{values} do not fit a frame ({error})") from error


def _unpacked(layout: struct.Struct, data: bytes, what: str) -> tuple[int, ...]:
    if len(data) != layout.size:
        raise WireError(f"{what} of {len(data)} bytes instead of {layout.size}")
    return layout.unpack(data)
