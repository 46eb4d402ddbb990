"""What systemd wants to hear from a service: ready, alive, stopping. One datagram each.

The loop itself kicks the watchdog: fed by another thread it would only prove that that thread
lives. The messages exist from the start and the socket never blocks, so a kick in the pause between
two ticks is one system call, four times per watchdog period.
Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

_READY, _ALIVE, _STOPPING = b"READY=1\nWATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"
_KICKS_PER_PERIOD = 4


class Notifier:
    """Talks to the service manager; silent where there is none."""

    def __init__(self, address: str, watchdog_ns: int) -> None:
        """``address`` of its socket, ``@`` for the abstract namespace, empty for none."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._every_ns = watchdog_ns // _KICKS_PER_PERIOD
        self._due_ns: int | None = None
        self._socket: socket.socket | None = None

    def open(self) -> Notifier:
        """Connect, if there is somebody to talk to."""
        if self._address:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, kind)
            with suppress(OSError):  # the manager will miss us, and say so
                self._socket.connect(self._address)
        return self

    def kick(self, now_ns: int) -> None:
        """Alive, if it is time to say so; the first call says ready."""
        if self._socket is None:
            return
        if self._due_ns is None:
            self._say(_READY)
        elif self._every_ns == 0 or now_ns < self._due_ns:
            return
        else:
            self._say(_ALIVE)
        self._due_ns = now_ns + self._every_ns

    def close(self) -> None:
        """Say that the service stops, and disconnect."""
        if self._socket is not None:
            self._say(_STOPPING)
            self._socket.close()
            self._socket = None

    def _say(self, message: bytes) -> None:
        if self._socket is not None:
            with suppress(OSError):  # full or gone: nothing that a robot could do about it
                self._socket.send(message)


def notifier_for(environment: Mapping[str, str], pid: int) -> Notifier:
    """The notifier that the service manager asked process ``pid`` for, by its environment."""
    watchdog_us = environment.get("WATCHDOG_USEC", "0")
    meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    watchdog_ns = 1000 * int(watchdog_us) if meant and watchdog_us.isdecimal() else 0
    return Notifier(environment.get("NOTIFY_SOCKET", ""), watchdog_ns)
