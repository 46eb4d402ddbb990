"""The control process's Unix socket: requests in, one reply each, never in the way of a tick.

``SOCK_SEQPACKET`` keeps message boundaries. Only this user can connect (mode 0600 in a directory
of mode 0700). The server runs in a thread of its own and answers status from plain counters;
commands go through a queue to the loop and are answered when a tick has obeyed them. No request,
and no client who does not read its reply, makes another wait: that one may want an emergency stop.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from onboard.control_api import (
    Clear,
    Done,
    GetStatus,
    Offer,
    Reply,
    Request,
    Start,
    Status,
    decode_reply,
    decode_request,
)
from protocol.errors import ConfigError, WireError
from protocol.messages import encode

DATAGRAM_BYTES = 1 << 18
POLL_S = 0.1
OBEYED_POLL_S = 0.002
"""Polls, because a tick must not take a lock to wake anybody."""
ANSWER_S = 2.0


@runtime_checkable
class Waiting(Protocol):
    """A reply that needs time."""

    def reply(self) -> Reply | None:
        """The reply, once there is one."""


Handler = Callable[[Request], Reply | Waiting]


class ControlServer:
    """Serves one socket until :meth:`close`."""

    def __init__(self, path: Path, handle: Handler) -> None:
        self._path, self._handle = path, handle
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._deaf_until_s = 0.0
        self._clients: set[socket.socket] = set()
        self._waiting: dict[socket.socket, Waiting] = {}
        self._closing = False

    def open(self) -> ControlServer:
        """Bind. Raises ConfigError if another process serves this path or it cannot be had."""
        if _answers(self._path):
            raise ConfigError(f"{self._path}: another control process is running; stop it first")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        mask = os.umask(0o077)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
            listener.listen(8)
        except OSError as error:
            listener.close()
            raise ConfigError(f"{self._path}: cannot serve the control socket ({error})") from error
        finally:
            os.umask(mask)
        listener.setblocking(False)
        self._listener = listener
        self._listen(listener)
        return self

    def serve(self) -> None:
        """Answer until :meth:`close`; then give everything back."""
        try:
            while not self._closing:
                for key, _ in self._selector.select(OBEYED_POLL_S if self._waiting else POLL_S):
                    key.data()
                self._answer_waiting()
                self._listen_again()
        finally:
            self._give_back()

    def close(self) -> None:
        """Let :meth:`serve` return."""
        self._closing = True

    def _give_back(self) -> None:
        for client in self._clients:
            client.close()
        if self._listener is not None:
            self._listener.close()
        self._selector.close()
        self._path.unlink(missing_ok=True)

    def _listen(self, listener: socket.socket) -> None:
        accept = partial(self._accept, listener)
        self._selector.register(listener, selectors.EVENT_READ, accept)

    def _listen_again(self) -> None:
        listener = self._listener
        if listener is None or listener in self._selector.get_map():
            return
        if time.monotonic() >= self._deaf_until_s:
            self._listen(listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:  # it left at once, or no descriptor is free: do not ask again at full speed
            self._selector.unregister(listener)
            self._deaf_until_s = time.monotonic() + POLL_S
            return
        client.setblocking(False)
        self._clients.add(client)
        self._hear(client)

    def _hear(self, client: socket.socket) -> None:
        """Let its next request in."""
        self._selector.register(client, selectors.EVENT_READ, partial(self._take, client))

    def _take(self, client: socket.socket) -> None:
        """One request; its client is not heard again before it has the reply."""
        self._selector.unregister(client)
        try:
            data = client.recv(DATAGRAM_BYTES)
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        answer = self._answer_to(data)
        if isinstance(answer, Waiting):
            self._waiting[client] = answer
        else:
            self._send(client, answer)

    def _drop(self, client: socket.socket) -> None:
        self._clients.remove(client)
        client.close()

    def _answer_to(self, data: bytes) -> Reply | Waiting:
        try:
            return self._handle(decode_request(data))
        except WireError as error:
            return Done(ok=False, detail=str(error)[:1024])

    def _answer_waiting(self) -> None:
        for client, waiting in [*self._waiting.items()]:
            reply = waiting.reply()
            if reply is not None:
                del self._waiting[client]
                self._send(client, reply)

    def _send(self, client: socket.socket, reply: Reply) -> None:
        """A client that is gone, or does not read what it asked for, is dropped."""
        try:
            client.send(encode(reply))
        except OSError:
            self._drop(client)
            return
        self._hear(client)


class ControlClient:
    """The other end, for the agent and the command line. One request at a time.

    What sets the robot in motion gets a deadline, so that it cannot happen after this client has
    reported that it failed.
    """

    def __init__(
        self,
        path: Path,
        timeout_s: float = ANSWER_S,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._path, self._timeout_s, self._clock_ns = path, timeout_s, clock_ns
        self._socket: socket.socket | None = None

    def status(self) -> Status:
        """A snapshot. Raises WireError if control is not running or does not answer."""
        reply = self.ask(GetStatus())
        if not isinstance(reply, Status):
            raise WireError(f"{self._path}: no status but {reply}")
        return reply

    def offer(self, version: int, directory: Path) -> Done:
        """Offer a verified bundle. Raises WireError as :meth:`status`."""
        return self.command(Offer(version=version, directory=str(directory)))

    def command(self, request: Request) -> Done:
        """Send a command. Raises WireError as :meth:`status`."""
        if isinstance(request, (Start, Clear)):
            deadline_ns = self._clock_ns() + round(self._timeout_s * 1e9)
            request = msgspec.structs.replace(request, deadline_ns=deadline_ns)
        reply = self.ask(request)
        if not isinstance(reply, Done):
            raise WireError(f"{self._path}: no acknowledgement but a status")
        return reply

    def ask(self, request: Request) -> Reply:
        """Send one request and return its reply; connects if necessary.

        Raises:
            WireError: control is not running, went away, or is busy. The next call connects
                anew.
        """
        try:
            connection = self._connect()
            connection.send(encode(request))
            data = connection.recv(DATAGRAM_BYTES)
        except TimeoutError as error:
            self.close()
            raise WireError(
                f"{self._path}: control is busy: no answer within {self._timeout_s:g} s"
            ) from error
        except OSError as error:
            self.close()
            raise WireError(
                f"{self._path}: control is not running ({error.strerror or error}); "
                "`wombet-onboard run` starts it, with the same --robot, --state and --runtime"
            ) from error
        if not data:
            self.close()
            raise WireError(f"{self._path}: control went away")
        return decode_reply(data)

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            connection.settimeout(self._timeout_s)
            self._socket = connection
            connection.connect(str(self._path))
        return self._socket


def _answers(path: Path) -> bool:
    """Whether a live process listens on ``path``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
