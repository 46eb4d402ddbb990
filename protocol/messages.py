"""What travels between robot and server, and between the processes of a robot.

MessagePack maps by msgspec, one tagged struct per message. Decoding order: size cap, version, type,
range; tensors are raw little-endian bytes whose length is checked by who knows their layout.
New fields need defaults; a field never changes its type or meaning. Source: FLEET.md § 4.
"""

from __future__ import annotations

import struct
import zlib
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.errors import WireError

VERSION = 1
MAX_BYTES = 1 << 20
CHUNK_BYTES = 256 << 10
BATCH_MAX_RECORDS = 8192

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Small = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Text = Annotated[str, Meta(max_length=1024)]
Epoch = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
TargetPath = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.][A-Za-z0-9_./-]{0,199}\Z")]
ReleaseName = Annotated[str, Meta(pattern=r"^[0-9A-Za-z._-]{1,64}\Z")]


class _Message(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of every message; ``v`` is the major version of the vocabulary."""

    v: int = VERSION


class Hello(_Message, frozen=True, tag="hello"):
    """Robot → server on every (re)connection: who I am and from where I can resend."""

    epoch: Epoch
    robot_digest: Digest
    task: Text
    first_held: Count


class Batch(_Message, frozen=True, tag="batch"):
    """Robot → server: ``count`` step records, compressed (zstd), numbered without holes per epoch.

    ``crc32`` is :func:`batch_crc32`. ``first_record`` is the ``seq`` of the first row.
    """

    epoch: Epoch
    seq: Count
    first_record: Count
    count: Annotated[int, Meta(ge=1, le=BATCH_MAX_RECORDS)]
    crc32: Small
    data: Annotated[bytes, Meta(max_length=MAX_BYTES - 4096)]


class Gap(_Message, frozen=True, tag="gap"):
    """Robot → server, in place of a batch: records that will never arrive, and why.

    It takes a number of the same sequence, so that "accept only ``last + 1``" moves on and nothing
    is lost silently. ``count`` = 0 means that the number of records is not known.
    """

    epoch: Epoch
    seq: Count
    first_record: Count
    count: Count
    reason: Text


class PolicyEvent(Struct, frozen=True, kw_only=True):
    """One thing that happened to a candidate on the robot."""

    number: Count
    version: Small
    outcome: Annotated[str, Meta(pattern=r"^(activated|committed|rejected|rolled_back)\Z")]
    reason: Text = ""


class Release(Struct, frozen=True, kw_only=True):
    """The last thing a field unit's journal says of releases of the runtime.

    ``running`` is in force; ``tried`` is the one that ``verdict``, in the journal's words, is
    about: the same, or one that was taken back. ``at_s`` is Unix time by the unit's clock, 0 if it
    has written nothing down.
    """

    running: ReleaseName
    tried: ReleaseName
    verdict: Annotated[str, Meta(pattern=r"^[a-z ]{1,32}\Z")]
    reason: Annotated[str, Meta(max_length=400)] = ""
    at_s: Small = 0


class Report(_Message, frozen=True, tag="report"):
    """Robot → server, about once a second: cumulative state; safe to lose and to repeat.

    ``held_back`` says which newer bundle is not tried, and why; absent if none is. ``waiting`` are
    the batches in the spool that the server has not acknowledged, ``interventions`` the ticks in
    which the safety layer changed a command; absent from robots that do not say. So is
    ``release``, which only field units have.
    """

    epoch: Epoch
    mode: Annotated[int, Meta(ge=0, le=255)]
    active_version: Small
    ticks: Count
    missed_ticks: Count
    produced: Count
    spooled: Count
    dropped: Count
    events: Annotated[list[PolicyEvent], Meta(max_length=64)] = []
    held_back: Text | UnsetType = UNSET
    waiting: Count | UnsetType = UNSET
    interventions: Count | UnsetType = UNSET
    release: Release | UnsetType = UNSET


class Fetch(_Message, frozen=True, tag="fetch"):
    """Robot → server: part of one file of the update repository."""

    path: TargetPath
    offset: Count


class Ack(_Message, frozen=True, tag="ack"):
    """Server → robot, after its commit: everything up to ``last`` is durable; ``last + 1`` is next.

    ``policy_version`` announces the newest published bundle. ``resend`` says that a message after
    ``last`` arrived but could not be taken: go back and send again from ``last + 1``. In answer to
    a :class:`Hello`, ``crc32`` is the checksum of what the server has under ``last``: a robot whose
    spool has forgotten sending it may hold something else under that number.
    """

    epoch: Epoch
    last: Count
    policy_version: Small
    resend: bool = False
    crc32: Small | UnsetType = UNSET


class Chunk(_Message, frozen=True, tag="chunk"):
    """Server → robot: bytes of a file at ``offset``; ``found`` says whether the file exists."""

    path: TargetPath
    offset: Count
    total: Count
    found: bool
    data: Annotated[bytes, Meta(max_length=CHUNK_BYTES)]


class Refused(_Message, frozen=True, tag="refused"):
    """Server → robot: why a message was not accepted.

    ``seq`` > 0 names a batch of ``epoch`` whose content can never be accepted: the robot keeps it
    aside and sends a :class:`Gap` in its place.
    """

    reason: Text
    epoch: Epoch | None = None
    seq: Count = 0


class Halt(_Message, frozen=True, tag="halt"):
    """Server → robot, with every answer for as long as the server's operator wants it stopped.

    It can only stop: an emergency stop is cleared by an operator at the robot, and comes again if
    the server still wants it.
    """

    reason: Text


ToServer = Hello | Batch | Gap | Report | Fetch
ToRobot = Ack | Chunk | Refused | Halt


class _Header(Struct):
    v: int


_encoder = msgspec.msgpack.Encoder()
_header = msgspec.msgpack.Decoder(_Header)
_to_server = msgspec.msgpack.Decoder(ToServer)
_to_robot = msgspec.msgpack.Decoder(ToRobot)

M = TypeVar("M")


def batch_crc32(first_record: int, count: int, data: bytes) -> int:
    """CRC-32 over a batch's numbers and its data: a flipped number is as bad as a flipped row."""
    return zlib.crc32(data, zlib.crc32(struct.pack("<QQ", first_record, count)))


def encode(message: Struct) -> bytes:
    """MessagePack bytes of a message. Raises WireError if it would exceed ``MAX_BYTES``."""
    data = _encoder.encode(message)
    if len(data) > MAX_BYTES:
        raise WireError(
            f"{type(message).__name__} of {len(data)} bytes exceeds the cap of {MAX_BYTES}"
        )
    return data


def decode_to_server(data: bytes) -> ToServer:
    """A robot's message. Raises WireError for anything else."""
    message: ToServer = checked(_to_server, data)
    return message


def decode_to_robot(data: bytes) -> ToRobot:
    """A server's message. Raises WireError for anything else."""
    message: ToRobot = checked(_to_robot, data)
    return message


def checked(decoder: msgspec.msgpack.Decoder[M], data: bytes) -> M:
    """Decode by the common rule: size cap, then version, then type and range."""
    if len(data) > MAX_BYTES:
        raise WireError(f"message of {len(data)} bytes exceeds the cap of {MAX_BYTES}")
    try:
        version = _header.decode(data).v
        if version != VERSION:
            raise WireError(
                f"message version {version}; this side speaks {VERSION}: update the older side"
            )
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a message: {error}") from error
