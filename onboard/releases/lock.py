"""One at a time: whoever changes the releases of a unit holds its lock."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from onboard.releases.unit_paths import UnitPaths

_POLL_S = 0.5
_OTHERS_READ = 0o755


class BusyError(Exception):
    """Somebody else holds it. Not of the family: nothing went wrong."""


@contextmanager
def locked(
    paths: UnitPaths,
    wait_s: float,
    clock_s: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[None]:
    """Hold the lock, after waiting for it for ``wait_s`` at most. Raises BusyError."""
    end_s = clock_s() + wait_s
    paths.books.mkdir(parents=True, exist_ok=True)
    paths.books.chmod(_OTHERS_READ)
    with paths.lock.open("ab") as file:
        while not _taken(file):
            if clock_s() >= end_s:
                raise BusyError
            sleep(_POLL_S)
        yield


def _taken(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
