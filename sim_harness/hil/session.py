"""A program that answers one line with one line, kept running for as long as it does."""

from __future__ import annotations

import select
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

END_S = 5.0


class Session:
    """Starts the program when it is first asked, and again after it ended. For any thread."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv, self._lock = argv, threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, word: str, within_s: float) -> bytes:
        """The answer; empty if the program cannot be run, ends, or says nothing in time."""
        with self._lock, suppress(OSError):
            process = self._running()
            if process.stdin is None or process.stdout is None:
                return b""
            process.stdin.write(word.encode() + b"\n")
            process.stdin.flush()
            if select.select([process.stdout], [], [], within_s)[0]:
                return process.stdout.readline()
            self._kill()  # what it may say later answers no later question
        return b""

    def end(self) -> None:
        """It hears no more; returns when it has ended."""
        with self._lock:
            self._kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._kill()
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            with process, suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
