"""A crossed serial line: two pseudo terminals joined at their masters."""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from contextlib import suppress
from pathlib import Path


class Cable:
    """Lies there until it is closed; ``here`` and ``there`` are its ends."""

    def __init__(self) -> None:
        pairs = [pty.openpty() for _ in range(2)]
        self._masters = [master for master, _ in pairs]
        self._slaves = [slave for _, slave in pairs]
        for slave in self._slaves:
            tty.setraw(slave)
        self.here, self.there = (Path(os.ttyname(slave)) for slave in self._slaves)
        self.there.chmod(0o666)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def close(self) -> None:
        """Take it away."""
        self._done.set()
        self._thread.join()
        for end in (*self._masters, *self._slaves):
            os.close(end)

    def _carry(self) -> None:
        while not self._done.is_set():
            for end in select.select(self._masters, [], [], 0.1)[0]:
                other = self._masters[1] if end == self._masters[0] else self._masters[0]
                with suppress(OSError):
                    os.write(other, os.read(end, 4096))
