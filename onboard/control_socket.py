"""The control process's Unix socket: requests in, one reply each, never in the way of a tick.

``SOCK_SEQPACKET`` keeps message boundaries. Only this user can connect (mode 0600 in a directory
of mode 0700). The server runs in a thread of its own and answers status from plain counters;
commands go through a queue to the loop and are answered when a tick has obeyed them.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path

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
ANSWER_S = 2.0

Handler = Callable[[Request], Reply]


class ControlServer:
    """Serves one socket until :meth:`close`."""

    def __init__(self, path: Path, handle: Handler) -> None:
        self._path, self._handle = path, handle
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
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
        self._selector.register(listener, selectors.EVENT_READ)
        self._listener = listener
        return self

    def serve(self) -> None:
        """Answer until :meth:`close`; then give everything back."""
        try:
            while not self._closing:
                for key, _ in self._selector.select(POLL_S):
                    self._ready(key.fileobj)
        finally:
            for key in list(self._selector.get_map().values()):
                if isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()
            self._selector.close()
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let :meth:`serve` return."""
        self._closing = True

    def _ready(self, source: object) -> None:
        if not isinstance(source, socket.socket):
            return
        if source is self._listener:
            self._accept(source)
        elif not self._answer(source):
            self._selector.unregister(source)
            source.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:  # it left at once, or no descriptor is free: do not ask again at full speed
            time.sleep(POLL_S)
            return
        client.settimeout(ANSWER_S)
        self._selector.register(client, selectors.EVENT_READ)

    def _answer(self, client: socket.socket) -> bool:
        """One request; False when the client is gone."""
        try:
            data = client.recv(DATAGRAM_BYTES)
            if not data:
                return False
            client.send(self._reply_to(data))
        except OSError:
            return False
        return True

    def _reply_to(self, data: bytes) -> bytes:
        try:
            return encode(self._handle(decode_request(data)))
        except WireError as error:
            return encode(Done(ok=False, detail=str(error)[:1024]))


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
            WireError: control is not running, went away, or took too long. The next call connects
                anew.
        """
        try:
            connection = self._connect()
            connection.send(encode(request))
            data = connection.recv(DATAGRAM_BYTES)
        except OSError as error:
            self.close()
            raise WireError(f"{self._path}: control is not running ({error})") from error
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
