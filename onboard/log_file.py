"""A log that cannot fill the disk: one file that is appended to, and a few older ones.

``events.jsonl`` becomes ``events.jsonl.1`` when it is full, and so on; the oldest goes. A line that
cannot be written is counted and forgotten: nothing a robot does may depend on its log.
"""

from __future__ import annotations

import os
from pathlib import Path

from protocol.errors import StoreError

LOG_FILE = Path("log") / "events.jsonl"
"""The agent's, in the state directory."""
MAX_BYTES = 1 << 20
KEPT = 4


class LogFile:
    """Lines on disk, at most ``(kept + 1) × max_bytes``.

    Attributes:
        lost: lines that could not be written.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self._path, self._max_bytes, self._kept = path, max_bytes, kept
        self._file, self._size = -1, 0
        self.lost = 0

    def open(self) -> LogFile:
        """Go on at the end of what is there. Raises StoreError if it cannot be opened at all."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._append()
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be opened ({error})") from error
        return self

    def write(self, line: str) -> None:
        """Append one line, which comes without its end."""
        data = f"{line}\n".encode()
        try:
            if self._file < 0 or self._size + len(data) > self._max_bytes:
                self._rotate()
            self._size += os.write(self._file, data)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _rotate(self) -> None:
        self.close()
        for number in range(self._kept, 0, -1):
            newer = self._numbered(number - 1)
            if newer.exists():
                newer.replace(self._numbered(number))
        self._append()

    def _append(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
