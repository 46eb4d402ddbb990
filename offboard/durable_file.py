"""Files that are whole or absent after a power cut: write beside, sync, rename, sync again."""

from __future__ import annotations

import os
from pathlib import Path

from protocol.errors import StoreError


def write_durably(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, readable by its owner only.

    Raises:
        StoreError: the file system refused; the old content, if any, is intact.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.unlink(missing_ok=True)
        _write_new(partial, data)
        partial.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error}") from error


def create_durably(path: Path, data: bytes) -> None:
    """Make ``path``, which must not exist, readable by its owner only.

    Raises:
        StoreError: it exists, or the file system refused.
    """
    try:
        _write_new(path, data)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """Make renames in ``path`` durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
