"""Small facts that must survive a power cut: one file each, written by fsync and rename."""

from __future__ import annotations

import os
from pathlib import Path

from protocol.errors import StoreError


def read_number(path: Path) -> int:
    """The number in ``path``; 0 if the file does not exist.

    Raises:
        StoreError: the file cannot be read or holds something else.
    """
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path}: not a readable number ({error}); restore or remove it"
        ) from error


def write_number(path: Path, number: int) -> None:
    """Replace the number in ``path`` durably; see :func:`write_text`. Raises StoreError."""
    write_text(path, str(number))


def read_text(path: Path) -> str:
    """The text in ``path``, without its last line end; empty if the file does not exist.

    Raises:
        StoreError: the file cannot be read or holds something else.
    """
    try:
        return path.read_text(encoding="ascii").removesuffix("\n")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); restore or remove it") from error


def write_text(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace the text in ``path`` durably: after a power cut it is the old one or the new one.

    ``mode`` says who else may read it, whatever the umask.

    Raises:
        StoreError: the file system refused.
    """
    write_bytes(path, f"{text}\n".encode("ascii"), mode)


def write_bytes(path: Path, data: bytes, mode: int = 0o600) -> None:
    """As :func:`write_text`, for anything. Raises StoreError."""
    partial = path.with_suffix(".part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(partial, "wb", opener=_private) as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error})") from error


def sync(path: Path) -> None:
    """Force a file or directory to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def advance(path: Path) -> int:
    """Add one to the number in ``path`` and return it; never the same twice in a robot's life.

    Raises:
        StoreError: the file cannot be read or written.
    """
    number = read_number(path) + 1
    write_number(path, number)
    return number


def taken(path: Path) -> int:
    """The number in ``path``, which is durably gone then; 0 if there is none.

    Raises:
        StoreError: the file cannot be read or removed.
    """
    number = read_number(path)
    try:
        path.unlink(missing_ok=True)
        if number:
            sync(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be removed ({error})") from error
    return number


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
