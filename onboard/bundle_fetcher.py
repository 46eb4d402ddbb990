"""Where update files come from: the server over ZeroMQ, or a directory such as a USB stick.

Neither is trusted: python-tuf verifies every byte that these return.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zmq
from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from protocol.errors import WireError
from protocol.messages import CHUNK_BYTES, Chunk, Fetch, decode_to_robot, encode

_NOT_FOUND = 404
_POLL_MS = 100


class ServerFetcher(FetcherInterface):
    """Asks the server for one chunk after the other over a DEALER socket of its own.

    Every chunk but the last is as large as one may be, so that no server can feed crumbs for ever.
    The socket is made at the first request, in the thread that asks, and must be closed there.
    """

    def __init__(
        self, connect: Callable[[], zmq.Socket[bytes]], attempts: int = 5, attempt_s: float = 2.0
    ) -> None:
        self._connect = connect
        self._attempts = attempts
        self._polls = max(1, int(attempt_s * 1000) // _POLL_MS)
        self._socket: zmq.Socket[bytes] | None = None
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Make a download in another thread fail soon; there is no way back."""
        self._cancelled.set()

    def close(self) -> None:
        """Close the socket, in the thread that fetched."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self.rest(url, 0)

    def rest(self, url: str, offset: int) -> Iterator[bytes]:
        """A published file from byte ``offset`` on. Raises DownloadError as it is read."""
        total = offset + 1
        while offset < total:
            chunk = self._chunk(url, offset)
            if not chunk.found:
                raise DownloadHTTPError(f"the server has no {url}", _NOT_FOUND)
            if len(chunk.data) != min(CHUNK_BYTES, chunk.total - offset):
                raise DownloadError(
                    f"the server sends {len(chunk.data)} bytes of {url} at byte {offset} of "
                    f"{chunk.total}: less than it could, or more"
                )
            yield chunk.data
            offset, total = offset + len(chunk.data), chunk.total

    def _chunk(self, url: str, offset: int) -> Chunk:
        if self._socket is None:
            self._socket = self._connect()
        request = encode(Fetch(path=url, offset=offset))
        for _ in range(self._attempts):
            answer = self._ask(self._socket, request, url, offset)
            if answer is not None:
                return answer
        raise DownloadError(f"no answer from the server about {url}")

    def _ask(
        self, socket: zmq.Socket[bytes], request: bytes, url: str, offset: int
    ) -> Chunk | None:
        sent = False
        for _ in range(self._polls):
            if self._cancelled.is_set():
                raise DownloadError("download cancelled")
            if not sent:
                sent = bool(socket.poll(_POLL_MS, zmq.POLLOUT))
                if sent:
                    socket.send(request)
            elif socket.poll(_POLL_MS, zmq.POLLIN):
                answer = _decoded(socket.recv_multipart())
                if answer is not None and (answer.path, answer.offset) == (url, offset):
                    return answer
        return None


class DirectoryFetcher(FetcherInterface):
    """Reads an update repository from a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self.rest(url, 0)

    def rest(self, url: str, offset: int) -> Iterator[bytes]:
        """A file from byte ``offset`` on. Raises DownloadError as it is read."""
        path = (self._directory / url).resolve()
        if not path.is_relative_to(self._directory.resolve()):
            raise DownloadHTTPError(f"{self._directory} has no {url}", _NOT_FOUND)
        try:
            file = _opened(path)
        except OSError as error:
            raise DownloadHTTPError(f"{self._directory} has no {url}", _NOT_FOUND) from error
        with file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def _opened(path: Path) -> BinaryIO:
    """A plain file, judged after it was opened: another's folder may change at any moment.

    Raises:
        OSError: it is none. A pipe or device is not waited for.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is no plain file")
    return os.fdopen(handle, "rb")


def _decoded(frames: list[bytes]) -> Chunk | None:
    """The chunk in an answer; anything else is a stray of an earlier question."""
    try:
        answer = decode_to_robot(frames[-1])
    except WireError:
        return None
    return answer if isinstance(answer, Chunk) else None
