"""Plain reads and writes of one node's registers: asked again if lost, verified if written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from onboard.bus import Named, always, named, permitted
from onboard.line import Line
from protocol.errors import BusError, WireError
from protocol.register import Register

SETUP_TIMEOUT_S = 0.05
"""Deadline of set-up transactions; an EEPROM write may take several milliseconds."""
SETUP_TRIES = 3

FrameT = TypeVar("FrameT")
ResultT = TypeVar("ResultT")


class Answer(NamedTuple):
    """What a node said: who, why not (if it refused), and its data."""

    id: int
    refusal: str | None
    data: bytes


@dataclass(frozen=True)
class Dialect(Generic[FrameT]):
    """How a bus says it.

    Attributes:
        ping: packet for a node id; answered with as many bytes as ``ping_bytes``.
        read: packet for id, address and length.
        write: packet for id, address and data.
        sync_read: packet for address, length and ids.
        parse: a frame as an answer; raises WireError if it is none.
        eeprom_end: lower addresses wear out, and are written only if they differ.
    """

    ping: Callable[[int], bytes]
    ping_bytes: int
    read: Callable[[int, int, int], bytes]
    write: Callable[[int, int, bytes], bytes]
    sync_read: Callable[[int, int, Sequence[int]], bytes]
    parse: Callable[[FrameT], Answer]
    eeprom_end: int


class Registers(Generic[FrameT]):
    """The registers of every node of one bus."""

    def __init__(self, line: Line[FrameT], dialect: Dialect[FrameT]) -> None:
        self._line, self._dialect = line, dialect

    def ping(self, joint: Named) -> bytes:
        """What a node answers to a ping. Raises BusError if it does not."""
        return self._answer(joint, self._dialect.ping(joint.id), self._dialect.ping_bytes)

    def get(self, joint: Named, register: Register) -> int:
        """Value of a register. Raises BusError."""
        packet = self._dialect.read(joint.id, register.address, register.size)
        return register.unpack(self._answer(joint, packet, register.size))

    def set(
        self, joint: Named, register: Register, value: int, may: Callable[[], bool] = always
    ) -> None:
        """Make a register hold ``value``. Raises BusError unless it reads back.

        Args:
            joint: whose.
            register: which.
            value: count to hold.
            may: asked each time before the packet goes; once it says no, that is a BusError.
        """
        if register.address < self._dialect.eeprom_end and self.get(joint, register) == value:
            return
        packet = self._dialect.write(joint.id, register.address, register.pack(value))
        self._answer(joint, packet, 0, may)
        if self.get(joint, register) != value:
            raise BusError(f"{named(joint)}: {register.name} did not take the value {value}")

    def peek(self, joint: Named, register: Register, timeout_s: float) -> int:
        """Value of a register, asked once. Raises BusError."""
        packet = self._dialect.read(joint.id, register.address, register.size)
        answer = self._once(packet, timeout_s)
        if answer.id != joint.id or answer.refusal or len(answer.data) != register.size:
            raise BusError(f"{named(joint)}: no answer to a read of {register.name}")
        return register.unpack(answer.data)

    def survey(
        self, nodes: Sequence[Named], register: Register, timeout_s: float
    ) -> dict[int, int]:
        """Values of one register by node id, asked once in one packet, of those that answer.

        Raises:
            BusError: the line does not take the packet, or hung up.
        """
        ids = [node.id for node in nodes]
        packet = self._dialect.sync_read(register.address, register.size, ids)
        frames = self._line.gather(packet, len(ids), timeout_s)
        return {
            answer.id: register.unpack(answer.data)
            for answer in self._understood(frames)
            if not answer.refusal and len(answer.data) == register.size
        }

    def all_of(self, nodes: Sequence[Named], register: Register, timeout_s: float) -> list[int]:
        """Likewise, one value per node. Raises BusError unless each of them answers."""
        held = self.survey(nodes, register, timeout_s)
        for node in nodes:
            if node.id not in held:
                raise BusError(f"{named(node)}: no answer to a read of {register.name}")
        return [held[node.id] for node in nodes]

    def _understood(self, frames: Sequence[FrameT]) -> Iterator[Answer]:
        for frame in frames:
            with suppress(WireError):
                yield self._dialect.parse(frame)

    def _answer(
        self, joint: Named, packet: bytes, size: int, may: Callable[[], bool] = always
    ) -> bytes:
        """Data of one node's answer, asking again if it is lost."""
        for attempt in range(SETUP_TRIES):
            permitted(may)
            try:
                answer = self._once(packet, SETUP_TIMEOUT_S)
            except BusError as error:
                if attempt + 1 == SETUP_TRIES:
                    raise BusError(f"{named(joint)} does not answer ({error})") from error
                continue
            if answer.refusal:
                raise BusError(f"{named(joint)} refused: {answer.refusal}")
            if answer.id == joint.id and len(answer.data) == size:
                return answer.data
        raise BusError(f"{named(joint)}: a different node answers; ids must be unique")

    def _once(self, packet: bytes, timeout_s: float) -> Answer:
        (frame,) = self._line.ask(packet, 1, timeout_s)
        try:
            return self._dialect.parse(frame)
        except WireError as error:
            raise BusError(str(error)) from error


def obtain(attempt: Callable[[], ResultT]) -> ResultT:
    """Its result, trying again if an answer is lost. Raises BusError."""
    for _ in range(SETUP_TRIES - 1):
        with suppress(BusError):
            return attempt()
    return attempt()
