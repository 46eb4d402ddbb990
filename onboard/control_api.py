"""What the control process answers on its Unix socket: the agent and the CLI speak this.

One msgpack request per ``SOCK_SEQPACKET`` datagram, one reply each. Decoding follows
``protocol.messages.checked``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from protocol.messages import VERSION, Count, PolicyEvent, Small, Text, checked


class _Request(Struct, frozen=True, kw_only=True, tag_field="kind"):
    v: int = VERSION


class GetStatus(_Request, frozen=True, tag="status"):
    """Ask for a :class:`Status`."""


class Start(_Request, frozen=True, tag="start"):
    """Leave IDLE: home, then run episodes of the task.

    Refused after ``deadline_ns`` of the monotonic clock: whoever asked has given up by then.
    """

    deadline_ns: Count | None = None


class Stop(_Request, frozen=True, tag="stop"):
    """Stop moving: torque off, back to IDLE."""


class Estop(_Request, frozen=True, tag="estop"):
    """Latched emergency stop."""


class Clear(_Request, frozen=True, tag="clear"):
    """Operator acknowledges FAULT or ESTOP; back to IDLE. ``deadline_ns`` as in :class:`Start`."""

    deadline_ns: Count | None = None


class Offer(_Request, frozen=True, tag="offer"):
    """The agent offers a bundle whose signature it verified.

    ``directory`` holds ``MANIFEST_FILE``, ``GRAPH_FILE`` and ``WEIGHTS_FILE``. ``ok`` means taken,
    or active already; what becomes of it follows as a :class:`PolicyEvent`. Not ``ok`` with a
    detail that starts with ``BUSY``: another bundle is being staged, ask again later.
    """

    version: Small
    directory: Annotated[str, Meta(max_length=4096)]


MANIFEST_FILE, GRAPH_FILE, WEIGHTS_FILE = "manifest.json", "graph.onnx", "weights.safetensors"
BUSY = "busy"
RING_FILE, SOCKET_FILE = "ring", "control.sock"
"""Where control's ring and socket lie in the runtime directory."""

Request = GetStatus | Start | Stop | Estop | Clear | Offer


class Summary(Struct, frozen=True, kw_only=True):
    """Percentiles of one timing quantity in microseconds."""

    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0


class Status(_Request, frozen=True, tag="status_reply"):
    """A snapshot; counters are cumulative since the process started."""

    robot: Text
    mode: Text
    reason: Text
    scheduling: Text
    episode: int
    step: int
    active_version: int
    ticks: int
    missed_ticks: int
    missed_ticks_near_swaps: int
    late_ticks: int
    interventions: int
    bus_misses: int
    produced: int
    dropped: int
    swaps: int
    activated: int
    committed: int
    rejected: int
    rolled_back: int
    events: list[PolicyEvent]
    period_error_us: Summary
    work_us: Summary
    period_error_histogram: list[int]
    work_histogram: list[int]
    bucket_edges_us: list[float]


class Done(_Request, frozen=True, tag="done"):
    """Whether a command was taken, and why not."""

    ok: bool
    detail: Text = ""


Reply = Status | Done

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def decode_request(data: bytes) -> Request:
    """A request. Raises WireError for anything else."""
    return checked(_requests, data)


def decode_reply(data: bytes) -> Reply:
    """A reply. Raises WireError for anything else."""
    return checked(_replies, data)
