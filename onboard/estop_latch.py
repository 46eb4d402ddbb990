"""What remembers an emergency stop: one byte, kept in memory that outlives the process.

Setting it is a store to a page that exists already: it needs no disk, no space and no system call,
and a loop, a process or a disk that has failed does not forget it.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from protocol.errors import StoreError


class EstopLatch:
    """One flag over a writable buffer; any thread may read or write it."""

    def __init__(self, memory: bytearray | mmap.mmap) -> None:
        self._memory = memory

    @property
    def is_set(self) -> bool:
        """Whether no motor may be powered."""
        return self._memory[0] != 0

    def set(self) -> None:
        """Latch."""
        self._memory[0] = 1

    def clear(self) -> None:
        """Let go; only for the loop, when it obeys an operator's CLEAR."""
        self._memory[0] = 0


def map_latch(path: Path) -> mmap.mmap:
    """The byte at ``path``, made if need be; the caller closes it.

    Args:
        path: on tmpfs: it must outlive the process, not the machine.

    Raises:
        StoreError: it cannot be made or mapped.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, mmap.PAGESIZE)
            return mmap.mmap(file, mmap.PAGESIZE)
        finally:
            os.close(file)
    except OSError as error:
        raise StoreError(f"{path}: cannot keep the emergency stop's latch ({error})") from error
