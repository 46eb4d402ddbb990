"""The flight recorder's memory: the last ticks, whole, in a file on tmpfs that outlives control.

One writer, no readers in its way. The file is written in place through a mapping that exists from
the start, so a tick costs some stores and no system call; whoever wants the ticks copies them out,
even after ``kill -9``.

::

    header page: magic, layout, capacity, life | head, ended
    rows:        capacity × row

``head`` counts rows and is stored after the row. The slot it points to may hold half a row, so
one row less than the capacity can be read.
"""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from protocol.errors import StoreError
from protocol.step_record import Rows

HEADER_BYTES = 4096
_MAGIC = int.from_bytes(b"wmbtflt1", "little")
_MAGIC_AT, _LAYOUT, _CAPACITY, _LIFE, _HEAD, _ENDED = 0, 1, 2, 3, 8, 9


class Flight(NamedTuple):
    """What the ring held.

    Attributes:
        rows: (N,) oldest first.
        life: which life of the control process wrote them.
        ended: that life ended in good order.
    """

    rows: Rows
    life: int
    ended: bool


class FlightRing:
    """The writer's side.

    Attributes:
        head: rows written so far.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.void], capacity: int, life: int) -> None:
        """``life`` counts the starts of the control process."""
        self._path, self._dtype, self._capacity, self._life = path, dtype, capacity, life
        self._row_bytes = dtype.itemsize
        self._open = False
        self.head = 0

    def open(self) -> FlightRing:
        """Replace the file by an empty one, every page of it in memory.

        Raises:
            StoreError: the file system refused.
        """
        size = HEADER_BYTES + self._capacity * self._dtype.itemsize
        partial = self._path.with_suffix(".part")
        try:
            file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, size)
                self._memory = mmap.mmap(file, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
            finally:
                os.close(file)
            self._header = np.frombuffer(self._memory, np.uint64, HEADER_BYTES // 8)
            self._header[_MAGIC_AT], self._header[_LAYOUT] = _MAGIC, _layout(self._dtype)
            self._header[_CAPACITY], self._header[_LIFE] = self._capacity, self._life
            os.replace(partial, self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot map the flight recorder ({error})") from error
        self._open = True
        return self

    def write(self, row: memoryview) -> None:
        """Keep the bytes of one row."""
        at = HEADER_BYTES + self.head % self._capacity * self._row_bytes
        self._memory[at : at + self._row_bytes] = row
        self.head += 1
        self._header[_HEAD] = self.head

    def close(self) -> None:
        """Unmap, marked as ended in good order; the rows stay."""
        if self._open:
            self._open = False
            self._header[_ENDED] = 1
            del self._header
            self._memory.close()


def read_flight(path: Path, dtype: np.dtype[np.void]) -> Flight | None:
    """Copies of the last rows, also while they are being written; None if there is no file.

    Raises:
        StoreError: the file is no flight recorder of this robot.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < HEADER_BYTES:
                raise StoreError(f"{path}: not a flight recorder of this robot")
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as memory:
                return _copied(memory, dtype, path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot read the flight recorder ({error})") from error


def _copied(memory: mmap.mmap, dtype: np.dtype[np.void], path: Path) -> Flight:
    words = np.frombuffer(memory[:HEADER_BYTES], dtype=np.uint64)
    capacity = int(words[_CAPACITY])
    expected = HEADER_BYTES + capacity * dtype.itemsize
    if words[_MAGIC_AT] != _MAGIC or words[_LAYOUT] != _layout(dtype) or len(memory) != expected:
        raise StoreError(f"{path}: not a flight recorder of this robot; restart control")
    head = int(words[_HEAD])
    rows = np.frombuffer(memory[HEADER_BYTES:], dtype=dtype)
    head_after = int.from_bytes(memory[8 * _HEAD : 8 * _HEAD + 8], "little")
    first = max(0, head_after - capacity + 1)
    order = np.arange(first, max(first, head), dtype=np.int64) % capacity
    return Flight(rows[order], int(words[_LIFE]), bool(words[_ENDED]))


def _layout(dtype: np.dtype[np.void]) -> int:
    """Differs whenever field names, types or sizes differ."""
    return zlib.crc32(repr(dtype.descr).encode()) << 32 | dtype.itemsize
