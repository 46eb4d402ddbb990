"""The one road from the control process to the agent: a ring of step records in shared memory.

One writer, one reader, no locks, no system call per row. The file lies on tmpfs and outlives both
processes, so ``kill -9`` of either side loses nothing that was published:

::

    header page: magic, generation, capacity, layout, end of the generation before |
                 head, dropped (writer's) | tail (reader's)
    slots:       capacity × (stamp, row, CRC-32 of both), padded to 8 bytes

The writer fills a slot, then publishes it by one aligned 8-byte store to ``head``. The stamp and
the CRC let the reader detect a slot whose bytes are not all visible yet (ARM may show ``head``
first). A row's number is ``generation << 40 | head + dropped``: a full ring drops the row and uses
its number up, so every loss is a visible gap, and a new generation keeps numbers rising over the
robot's life.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocol.errors import StoreError
from protocol.step_record import Rows

HEADER_BYTES = 4096
GENERATION_SHIFT = 40
UNREADABLE_PEEKS = 1000
"""Peeks at the same unreadable slot before the reader gives it up as corrupt."""

_MAGIC = int.from_bytes(b"wmbtrng1", "little")
# Header words (uint64). Writer's and reader's words lie in different cache lines.
_MAGIC_AT, _GENERATION, _CAPACITY, _LAYOUT, _ENDED = 0, 1, 2, 3, 4
_HEAD, _DROPPED = 8, 9
_TAIL = 16

Header = NDArray[np.uint64]


class RingWriter:
    """The producer's side. ``open()`` adopts an existing ring of the same shape or makes a new one.

    Attributes:
        row: (1,) structured array to fill before :meth:`commit`.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype[np.void],
        capacity: int,
        generation: Callable[[], int],
        ended: int = 0,
    ) -> None:
        """Map nothing yet.

        Args:
            path: on tmpfs.
            dtype: of a row.
            capacity: rows.
            generation: asked for a never used number when a new file has to be made.
            ended: the number after the last row of the generation before; 0 if nobody knows.
        """
        self._ended = ended
        self._path, self._dtype, self._capacity = path, dtype, capacity
        self._next_generation = generation
        self._slot_dtype = _slot_dtype(dtype)
        self._slot = np.zeros(1, dtype=self._slot_dtype)
        self.row: Rows = self._slot["row"]
        self._stamp: NDArray[np.uint64] = self._slot["stamp"]
        self._crc: NDArray[np.uint32] = self._slot["crc"]
        self._bytes = self._slot.view(np.uint8).data
        self._covered = self._bytes[: 8 + dtype.itemsize]
        self._seq: NDArray[np.uint64] = self.row["seq"]
        self._file = -1
        self._open = False

    def open(self) -> RingWriter:
        """Map the file; only one live writer may.

        Raises:
            StoreError: another process writes here, or the file system refused.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self._adopt()
            if self._file < 0:
                self._file = self._create()
            size, flags = self._expected_shape()[3], mmap.MAP_SHARED | mmap.MAP_POPULATE
            self._memory = mmap.mmap(self._file, size, flags)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot map the record ring ({error})") from error
        self._header, _ = _views(self._memory, self._slot_dtype, self._capacity)
        self._head, self._dropped = int(self._header[_HEAD]), int(self._header[_DROPPED])
        self._base = int(self._header[_GENERATION]) << GENERATION_SHIFT
        self._open = True
        return self

    def commit(self) -> bool:
        """Publish ``row`` under the next number; False if the ring was full and it was dropped."""
        self._seq[0] = self._base + self._head + self._dropped
        if self._head - int(self._header[_TAIL]) >= self._capacity:
            self._dropped += 1
            self._header[_DROPPED] = self._dropped
            return False
        self._stamp[0] = self._head
        self._crc[0] = zlib.crc32(self._covered)
        at = HEADER_BYTES + self._head % self._capacity * self._slot.itemsize
        self._memory[at : at + self._slot.itemsize] = self._bytes
        self._head += 1
        self._header[_HEAD] = self._head
        return True

    @property
    def produced(self) -> int:
        """Rows committed or dropped in this generation."""
        return self._head + self._dropped

    @property
    def end(self) -> int:
        """The number that the next row would have."""
        return self._base + self.produced

    @property
    def dropped(self) -> int:
        """Rows of this generation that found the ring full."""
        return self._dropped

    def close(self) -> None:
        """Unmap; the file and its unread rows stay."""
        if self._open:
            self._open = False
            del self._header
            self._memory.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _adopt(self) -> int:
        """Descriptor of an existing ring of our shape, locked; -1 if a new one is needed."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        try:
            _lock(file, self._path)
            if _shape(file) == self._expected_shape():
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return -1

    def _create(self) -> int:
        """A fresh ring under the next generation, complete before it appears under its name."""
        partial = self._path.with_suffix(".part")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        file = os.open(partial, flags, 0o600)
        try:
            _lock(file, self._path)
            os.posix_fallocate(file, 0, _file_bytes(self._slot_dtype, self._capacity))
            words = np.zeros(5, dtype=np.uint64)
            words[[_MAGIC_AT, _CAPACITY, _LAYOUT]] = self._expected_shape()[0:3]
            words[_GENERATION], words[_ENDED] = self._next_generation(), self._ended
            os.pwrite(file, words.tobytes(), 0)
            os.replace(partial, self._path)
        except BaseException:
            os.close(file)
            raise
        return file

    def _expected_shape(self) -> tuple[int, int, int, int]:
        size = _file_bytes(self._slot_dtype, self._capacity)
        return _MAGIC, self._capacity, _layout_number(self._dtype), size


class RingReader:
    """The consumer's side. The file may not exist yet, and may be replaced by a new generation.

    Attributes:
        corrupt: slots given up because their CRC never came right.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.void]) -> None:
        self._path, self._dtype = path, dtype
        self._slot_dtype = _slot_dtype(dtype)
        self._map: mmap.mmap | None = None
        self._inode = -1
        self._unreadable = 0
        self.corrupt = 0

    def peek(self, max_rows: int) -> Rows:
        """Verified copies of the oldest unreleased rows, in order; they stay in the ring.

        Args:
            max_rows: most rows wanted.

        Returns:
            (N,) rows, N ≤ ``max_rows``; empty if there is nothing, or no ring yet.

        Raises:
            StoreError: the file is no ring of this robot.
        """
        if self._map is None or self._available() == 0:
            self._remap()
        if self._map is None:
            return np.empty(0, dtype=self._dtype)
        tail = int(self._header[_TAIL])
        stamps = np.arange(tail, tail + min(self._available(), max_rows), dtype=np.uint64)
        slots = self._slots[(stamps % np.uint64(self._capacity)).astype(np.intp)]
        good = self._readable(slots, stamps)
        if good == 0 and len(stamps) > 0:
            self._give_up_in_the_end()
        else:
            self._unreadable = 0
        return np.ascontiguousarray(slots["row"][:good])

    def release(self, count: int) -> None:
        """Give the oldest ``count`` peeked rows back. Raises ValueError if too many."""
        if count == 0:
            return
        if self._map is None or not 0 < count <= self._available():
            raise ValueError(f"{self._path}: cannot release {count} rows that were not peeked")
        self._header[_TAIL] = int(self._header[_TAIL]) + count

    @property
    def dropped(self) -> int:
        """Rows of this generation lost because the ring was full."""
        return 0 if self._map is None else int(self._header[_DROPPED])

    @property
    def produced(self) -> int:
        """Rows committed or dropped in this generation."""
        return 0 if self._map is None else int(self._header[_HEAD]) + self.dropped

    @property
    def ended(self) -> int:
        """The number after the last row of the generation before; 0 if nobody knows."""
        return 0 if self._map is None else int(self._header[_ENDED])

    def close(self) -> None:
        """Unmap; what was not released is read again next time."""
        if self._map is not None:
            del self._header, self._slots
            self._map.close()
            self._map = None
            self._inode = -1

    def _available(self) -> int:
        return int(self._header[_HEAD]) - int(self._header[_TAIL])

    def _readable(self, slots: Rows, stamps: NDArray[np.uint64]) -> int:
        """How many slots from the first on hold their whole row."""
        covered = 8 + self._dtype.itemsize
        for index, slot in enumerate(slots):
            whole = zlib.crc32(slot.tobytes()[:covered]) == int(slot["crc"])
            if not whole or slot["stamp"] != stamps[index]:
                return index
        return len(slots)

    def _give_up_in_the_end(self) -> None:
        self._unreadable += 1
        if self._unreadable >= UNREADABLE_PEEKS:
            self._unreadable = 0
            self.corrupt += 1
            self.release(1)

    def _remap(self) -> None:
        """Map the file if it is new to us."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            inode = os.fstat(file).st_ino
            if inode != self._inode:
                self.close()
                self._open(file)
                self._inode = inode
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._path}: cannot map the record ring ({error})") from error
        finally:
            os.close(file)

    def _open(self, file: int) -> None:
        magic, capacity, layout, size = _shape(file)
        if magic != _MAGIC or layout != _layout_number(self._dtype):
            raise StoreError(f"{self._path}: not a record ring of this robot; restart control")
        if size != _file_bytes(self._slot_dtype, capacity):
            raise StoreError(f"{self._path}: {size} bytes do not hold {capacity} records")
        self._capacity = capacity
        self._map = mmap.mmap(file, size)
        self._header, self._slots = _views(self._map, self._slot_dtype, capacity)


def _slot_dtype(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    used = 8 + dtype.itemsize + 4
    return np.dtype(
        {
            "names": ["stamp", "row", "crc"],
            "formats": ["<u8", dtype, "<u4"],
            "offsets": [0, 8, 8 + dtype.itemsize],
            "itemsize": (used + 7) & ~7,
        }
    )


def _file_bytes(slot: np.dtype[np.void], capacity: int) -> int:
    return HEADER_BYTES + slot.itemsize * capacity


def _layout_number(dtype: np.dtype[np.void]) -> int:
    """Differs whenever field names, types or sizes differ."""
    return zlib.crc32(repr(dtype.descr).encode()) << 32 | dtype.itemsize


def _shape(file: int) -> tuple[int, int, int, int]:
    """Magic, capacity, layout number and size in bytes of an open file."""
    data = os.pread(file, 32, 0).ljust(32, b"\0")
    words = np.frombuffer(data, dtype=np.uint64)
    return (
        int(words[_MAGIC_AT]),
        int(words[_CAPACITY]),
        int(words[_LAYOUT]),
        os.fstat(file).st_size,
    )


def _views(
    memory: mmap.mmap, slot: np.dtype[np.void], capacity: int
) -> tuple[Header, NDArray[np.void]]:
    header = np.frombuffer(memory, dtype=np.uint64, count=HEADER_BYTES // 8)
    slots = np.frombuffer(memory, dtype=slot, count=capacity, offset=HEADER_BYTES)
    return header, slots


def _lock(file: int, path: Path) -> None:
    """The kernel drops this lock when the writer dies, however it dies."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreError(
            f"{path}: another control process is writing here; stop it first"
        ) from error
