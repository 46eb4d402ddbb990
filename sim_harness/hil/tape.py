"""Everything that came to a rig from outside, in order: enough to live through it again.

The rig is deterministic, so its motion and its answers need not be kept. A checksum of the answers
tells whether the replay was the same run.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from protocol.errors import StoreError
from sim_harness.hil.faults import AnyFault
from sim_harness.wire_end import Reply

STARTED, ZERO, OVER = "started", "zero", "over"
"""Marks: the operator says start, the scenario's clock begins, it ends."""


class Heard(Struct, frozen=True, array_like=True, tag=True):
    """Bytes from the host, and the checksum of what was answered when."""

    at_ns: int
    data: bytes
    answers_crc32: int


class Turned(Struct, frozen=True, array_like=True, tag=True):
    """A fault that begins or ends; or, without one, a named moment."""

    at_ns: int
    begins: bool
    fault: AnyFault | None = None
    mark: str = ""


Event = Heard | Turned


class Tape(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run; times in ns since the rig was made.

    Attributes:
        schema: of this file.
        robot: name of the robot, with the digest of its file.
        digest: likewise.
        body: which simulated body, made with ``seed``.
        seed: likewise.
        scenario: which one this was.
        started_ns: the rig's zero, by the monotonic clock of the machine it ran on.
        elapsed_s: what really passed.
        lost_ms: of that, what the rig did not live through.
        worst_lag_ms: how late the rig's process woke once; it cannot hear the host meanwhile.
        end_ns: when it was stopped.
        events: in order.
    """

    schema: int = 1
    robot: str
    digest: str
    body: str
    seed: int
    scenario: str = ""
    started_ns: int = 0
    elapsed_s: float = 0.0
    lost_ms: float = 0.0
    worst_lag_ms: float = 0.0
    end_ns: int = 0
    events: tuple[Event, ...] = ()

    @property
    def realtime_factor(self) -> float:
        """Simulated over elapsed time."""
        return self.end_ns * 1e-9 / self.elapsed_s if self.elapsed_s > 0.0 else 1.0


def answers_crc32(replies: Iterable[Reply]) -> int:
    """Over bytes and delays, in order."""
    crc = 0
    for delay_ns, data in replies:
        crc = zlib.crc32(data, zlib.crc32(delay_ns.to_bytes(8, "little"), crc))
    return crc


def write_tape(path: Path, tape: Tape) -> None:
    """Raises StoreError if it cannot be written."""
    try:
        path.write_bytes(msgspec.msgpack.encode(tape))
    except OSError as error:
        raise StoreError(f"{path}: cannot write the tape ({error})") from error


def read_tape(path: Path) -> Tape:
    """Raises StoreError if it is missing or no tape."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Tape)
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{path}: cannot read the tape ({error})") from error
