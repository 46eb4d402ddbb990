"""Prints what the threads of a real-time process have to say, in a thread of its own.

Whoever reads the log may be slow, stuck or gone; nobody but this thread ever waits for it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

POLL_S = 0.1
LAST_WORDS_S = 1.0
"""How long :meth:`Journal.close` waits for a reader that may be stuck."""


class Journal:
    """Writes ``lines`` to a file descriptor, until :meth:`close`.

    A daemon thread and the bare descriptor: a write that never returns must keep neither the
    interpreter from ending nor anybody else from the buffer of a stream.
    """

    def __init__(self, lines: deque[str], fd: int, prefix: str) -> None:
        self._lines, self._fd, self._prefix = lines, fd, prefix
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, prepare: Callable[[], None] = lambda: None) -> Journal:
        """Start to write; the thread calls ``prepare`` first."""

        def write() -> None:
            prepare()
            while not self._closing.wait(POLL_S):
                self._drain()
            self._drain()

        self._thread = threading.Thread(target=write, name="journal", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Write what is left, unless nobody takes it."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(LAST_WORDS_S)

    def _drain(self) -> None:
        while self._lines:
            line = f"{self._prefix}: {self._lines.popleft()}\n"
            with suppress(OSError, ValueError):  # nobody is left to be told
                os.write(self._fd, line.encode(errors="replace"))
