"""Limits on TCP connections that say nothing: half-open handshakes, and messages without an end.

ZeroMQ bounds the size of a frame and the life of a handshake, but neither how many connections may
be in their handshake nor how many frames a message may have. Both would take memory or file
descriptors without a single message to refuse. So the listening thread watches the connections
themselves: who has said something, and how many bytes came since. Source: FLEET.md § 2; tcp(7).
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_RECEIVED_OFFSET, _TCP_INFO_BYTES = 128, 136
"""Of ``tcpi_bytes_received``, a u64, in the kernel's struct tcp_info; Linux 4.1 on."""


@dataclass(frozen=True)
class Limits:
    """What a connection may do before it is cut.

    Attributes:
        silent: connections that have not delivered a message of an enrolled robot; the oldest go.
        silent_s: how long one may stay so.
        unread_bytes: received since its last message; more than a full queue of whole messages.
    """

    silent: int = 256
    silent_s: float = 15.0
    unread_bytes: int = 48 << 20


@dataclass
class _Connection:
    """One accepted connection.

    Attributes:
        peer: tells it from a later one with the same descriptor.
        opened_s: when.
        heard: ever.
        spoke: since the last look; then ``received_bytes`` counts from the next one on.
    """

    peer: object
    opened_s: float
    heard: bool = False
    spoke: bool = False
    received_bytes: int = 0


class Connections:
    """Those of one listening socket, by file descriptor.

    The descriptors are ZeroMQ's: they are looked at and shut down, never closed.
    """

    def __init__(self, limits: Limits, clock_s: Callable[[], float]) -> None:
        """``clock_s`` is monotonic."""
        self._limits = limits
        self._clock_s = clock_s
        self._connections: dict[int, _Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def opened(self, fd: int) -> None:
        """One was accepted."""
        with suppress(OSError), _borrowed(fd) as stream:
            self._connections[fd] = _Connection(stream.getpeername(), self._clock_s())

    def closed(self, fd: int) -> None:
        """One is gone."""
        self._connections.pop(fd, None)

    def heard(self, fd: int) -> None:
        """A whole message of an enrolled robot came over it."""
        if connection := self._connections.get(fd):
            connection.heard = connection.spoke = True

    def enforce(self) -> Counter[str]:
        """Cut what is over a limit; returns how many, by reason. To be called often."""
        return +(self._cut_silent() + self._cut_endless())

    def _cut_silent(self) -> Counter[str]:
        cut: Counter[str] = Counter()
        oldest_s = self._clock_s() - self._limits.silent_s
        silent = sorted(
            (fd for fd, each in self._connections.items() if not each.heard),
            key=lambda fd: self._connections[fd].opened_s,
        )
        crowd = max(0, len(silent) - self._limits.silent)
        for fd in silent[:crowd]:
            cut["too many connections that say nothing"] += self._cut(fd)
        for fd in silent[crowd:]:
            if self._connections[fd].opened_s < oldest_s:
                cut["connection that said nothing"] += self._cut(fd)
        return cut

    def _cut_endless(self) -> Counter[str]:
        cut: Counter[str] = Counter()
        for fd, connection in [*self._connections.items()]:
            received_bytes = _received_bytes(fd)
            if connection.spoke:
                connection.spoke, connection.received_bytes = False, received_bytes
            elif received_bytes - connection.received_bytes > self._limits.unread_bytes:
                cut["message without an end"] += self._cut(fd)
        return cut

    def _cut(self, fd: int) -> bool:
        """Shut a connection down, if it is still the one that was accepted."""
        connection = self._connections.pop(fd)
        with suppress(OSError), _borrowed(fd) as stream:
            if stream.getpeername() == connection.peer:
                stream.shutdown(socket.SHUT_RDWR)
                return True
        return False


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket object over somebody else's descriptor, which stays open. Raises OSError."""
    stream = socket.socket(fileno=fd)
    try:
        yield stream
    finally:
        stream.detach()


def _received_bytes(fd: int) -> int:
    """By this connection since it was opened; 0 if it is gone."""
    with suppress(OSError), _borrowed(fd) as stream:
        info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from("<Q", info, _RECEIVED_OFFSET)[0])
    return 0
