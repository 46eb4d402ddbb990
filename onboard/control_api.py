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
    """Latched emergency stop; ``source`` says who or what demands it."""

    source: Text = "the operator"


class Clear(_Request, frozen=True, tag="clear"):
    """Operator acknowledges FAULT or ESTOP; back to IDLE. ``deadline_ns`` as in :class:`Start`."""

    deadline_ns: Count | None = None


class Offer(_Request, frozen=True, tag="offer"):
    """The agent offers a bundle whose signature it verified.

    ``directory`` holds ``MANIFEST_FILE``, ``GRAPH_FILE`` and ``WEIGHTS_FILE``. ``ok`` means taken,
    or active already; what becomes of it follows as a :class:`PolicyEvent`. Not ``ok`` with a
    detail that starts with ``BUSY``: another bundle is being staged, ask again later; one that
    starts with ``HELD_BACK``: the robot is pinned to another version.
    """

    version: Small
    directory: Annotated[str, Meta(max_length=4096)]


class Rollback(_Request, frozen=True, tag="rollback"):
    """Operator drops the active policy as bad; the last committed one before it drives.

    ``ok`` means that it is under way; what becomes of it follows as a :class:`PolicyEvent`.
    """


class Pin(_Request, frozen=True, tag="pin"):
    """Operator wants this version to drive, and no other until :class:`Unpin`.

    It has to be newer than all before, or committed before. ``ok`` as for :class:`Rollback`, with
    the pin durable.
    """

    version: Small
    directory: Annotated[str, Meta(max_length=4096)]


class Unpin(_Request, frozen=True, tag="unpin"):
    """Operator lets offers through again."""


MANIFEST_FILE, GRAPH_FILE, WEIGHTS_FILE = "manifest.json", "graph.onnx", "weights.safetensors"
BUSY, HELD_BACK, STAGING, RETURNING = "busy", "held back", "staging", "returning"
"""How the detail of a reply begins."""
RING_FILE, SOCKET_FILE, LATCH_FILE = "ring", "control.sock", "estop"
"""Where control's ring, socket and emergency stop lie in the runtime directory."""
AGENT_PID_FILE = "agent.pid"
FLIGHT_FILE, FLIGHTS = "flight", "flights"
"""The flight recorder's memory in the runtime directory, its files in the state directory."""

Request = GetStatus | Start | Stop | Estop | Clear | Offer | Rollback | Pin | Unpin


class Summary(Struct, frozen=True, kw_only=True):
    """Percentiles of one timing quantity in microseconds."""

    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0


class Timing(Struct, frozen=True, kw_only=True):
    """Elapsed time and processor time of one part of the tick."""

    span_us: Summary = Summary()
    work_us: Summary = Summary()


class StateChange(Struct, frozen=True, kw_only=True):
    """One change of mode; ``number`` counts from 1 since the process started."""

    number: int
    at_ns: int
    old: Text
    new: Text
    reason: Text


class Status(_Request, frozen=True, tag="status_reply"):
    """A snapshot; counters are cumulative since the process started.

    ``work`` is processor time of the loop's thread, ``span`` elapsed time. ``at_ns`` and
    ``mode_since_ns`` are times of the monotonic clock.
    """

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
    span_us: Summary = Summary()
    span_histogram: list[int] = []
    period_error_sum_us: float = 0.0
    work_sum_us: float = 0.0
    span_sum_us: float = 0.0
    sections: dict[str, Timing] = {}
    changes: list[StateChange] = []
    notes: list[str] = []
    pid: int = 0
    task: Text = ""
    control_hz: int = 0
    at_ns: int = 0
    mode_since_ns: int = 0
    previous_version: int = 0
    committed_versions: list[int] = []
    pinned_version: int = 0


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
