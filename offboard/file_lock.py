"""Files that one process holds at a time; the kernel gives them back when it ends, however."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import ConfigError, StoreError


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold ``path``; waits for whoever has it. Raises StoreError if it cannot be made."""
    with _opened(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def refusing_lock(path: Path, otherwise: str) -> Iterator[None]:
    """Hold ``path``, at once or not at all.

    Raises:
        ConfigError: somebody has it; the text is ``otherwise``.
        StoreError: it cannot be made.
    """
    with _opened(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(otherwise) from error
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}") from error
    try:
        yield handle
    finally:
        os.close(handle)
