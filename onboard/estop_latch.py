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


def latch_from_outside(path: Path) -> None:
    """Set the byte at ``path`` in place of a process that does not answer, or does not run yet.

    It is made if need be, but only by the owner of its directory: whoever uses the motors could not
    open another's. No link is followed, for this may be root.

    Raises:
        StoreError: it cannot be set.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        if path.parent.stat().st_uid == os.geteuid():
            flags |= os.O_CREAT
        file = os.open(path, flags, 0o600)
        try:
            os.pwrite(file, b"\1", 0)
        finally:
            os.close(file)
    except OSError as error:
        raise StoreError(f"{path}: cannot latch the emergency stop ({error})") from error


def latch_alone(path: Path) -> str:
    """Latch without control's answer, and say what that means; never raises."""
    try:
        latch_from_outside(path)
    except StoreError as error:
        return f"control did not take the emergency stop, and NOTHING IS LATCHED: {error}"
    return (
        f"control did not confirm the emergency stop; it is latched in {path}: an armed self-test "
        "ends, and control comes up in ESTOP until `wombet-onboard clear`. Nobody has confirmed "
        "that the torque is off"
    )
