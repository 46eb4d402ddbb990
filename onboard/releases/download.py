"""A signed file onto the disk: goes on where it was cut off, counts when it is what was signed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tuf.api.exceptions import DownloadError

from onboard.durable import sync
from onboard.releases.unit_paths import PARTIAL
from onboard.update_client import Listed
from protocol.errors import BundleError

Rest = Callable[[str, int], Iterator[bytes]]
"""A published file by its path, from a byte on."""
_READ_BYTES = 1 << 20


def download(listed: Listed, rest: Rest, path: Path, reserve_bytes: int) -> None:
    """Have ``listed`` in ``path``, whole and durable.

    Args:
        listed: what it has to be.
        rest: where it comes from.
        path: of the complete file; ``path`` with ``.part`` keeps what has come so far.
        reserve_bytes: what must stay free on the disk.

    Raises:
        BundleError: not reachable, not what was signed, or no room.
    """
    with _refusing(listed.path):
        if _is(path, listed):
            return
        part = path.with_name(path.name + PARTIAL)
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(part, "a+b") as file:
            _check_room(part.parent, listed.length - file.tell(), reserve_bytes)
            _complete(file, listed, rest)
        if not _is(part, listed):
            part.unlink()
            raise BundleError(f"{listed.path} is not what was signed; it is fetched anew")
        part.replace(path)
        sync(path.parent)


def _complete(file: BinaryIO, listed: Listed, rest: Rest) -> None:
    """Append what is missing; more than was signed is not taken."""
    if file.tell() > listed.length:
        file.truncate(0)
    if file.tell() == listed.length:
        return
    for chunk in rest(f"targets/{listed.path}", file.tell()):
        if file.tell() + len(chunk) > listed.length:
            raise BundleError(f"{listed.path} is longer than the {listed.length} bytes signed")
        file.write(chunk)
    file.flush()
    os.fsync(file.fileno())


def _check_room(directory: Path, missing_bytes: int, reserve_bytes: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < missing_bytes + reserve_bytes:
        raise BundleError(
            f"no room: {missing_bytes >> 20} MiB are to come, {reserve_bytes >> 20} MiB must stay "
            f"free, {free >> 20} MiB are; `wombet-onboard release prune` makes some"
        )


def _is(path: Path, listed: Listed) -> bool:
    if not path.is_file() or path.stat().st_size != listed.length:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest() == listed.sha256


@contextmanager
def _refusing(path: str) -> Iterator[None]:
    try:
        yield
    except DownloadError as error:
        raise BundleError(f"{path} not fetched: {error}") from error
    except OSError as error:
        raise BundleError(f"{path} not stored: {error}") from error
