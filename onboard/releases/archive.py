"""A release's archive unpacked beside the others: whole under its name, or not there at all.

The name is the SHA-256 of the manifest of its files (offboard/fleet/release_tree.py), so that a
folder can be checked at any time. Only plain files are taken, with names that one can print: the
manifest is text, a line for each.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import zstandard

from onboard.durable import sync
from onboard.releases.bytecode import CACHE, compile_release
from onboard.releases.install_steps import Step, Watch, unwatched
from onboard.releases.unit_paths import PARTIAL
from protocol.errors import BundleError

UNPACKED_MAX_BYTES = 2 * 1024**3
"""Source: offboard/fleet/release_tree.py."""
ID_CHARS = 16
_READ_BYTES = 1 << 20
_PLAIN, _PROGRAM = 0o644, 0o755


def unpack(
    archive: Path,
    folder: Path,
    reserve_bytes: int,
    flush: Callable[[], None],
    at: Watch = unwatched,
) -> None:
    """Make ``folder``, which is named by the release, from ``archive``.

    Args:
        archive: whose bytes were verified.
        folder: must not exist.
        reserve_bytes: what must stay free on the disk.
        flush: forces all that was written to the disk; one call, for thousands of files.
        at: gets the steps.

    Raises:
        BundleError: it is no release, not the one named, or there is no room; what was unpacked so
            far lies beside, with ``.part`` at the end of its name.
    """
    part = folder.with_name(folder.name + PARTIAL)
    try:
        shutil.rmtree(part, ignore_errors=True)
        _make(part)
        with archive.open("rb") as file:
            _unpack(file, part, reserve_bytes)
        at(Step.UNPACKED)
        if (found := identity(part)) != folder.name:
            raise BundleError(f"the archive of release {folder.name} holds {found}")
        compile_release(part, folder)
        flush()
        part.rename(folder)
        sync(folder.parent)
    except (OSError, tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise BundleError(f"release {folder.name} not unpacked: {error}") from error


def identity(folder: Path) -> str:
    """The name that the files in ``folder`` give it. Raises OSError."""
    manifest = hashlib.sha256()
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(files):
        if CACHE not in PurePosixPath(name).parts:
            manifest.update(f"{_digest(files[name])}  {name}\n".encode())
    return manifest.hexdigest()[:ID_CHARS]


def _unpack(file: BinaryIO, folder: Path, reserve_bytes: int) -> None:
    left = min(UNPACKED_MAX_BYTES, shutil.disk_usage(folder).free - reserve_bytes)
    with (
        zstandard.ZstdDecompressor().stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        for member in tar:
            path = folder / _inside(member)
            if member.isdir():
                _make(path)
                continue
            left -= member.size
            if left < 0:
                raise BundleError(
                    f"no room to unpack release {folder.stem}: {reserve_bytes >> 20} MiB must stay "
                    f"free, and it may have {UNPACKED_MAX_BYTES >> 20} MiB at most"
                )
            _write(tar, member, path)


def _inside(member: tarfile.TarInfo) -> PurePosixPath:
    """Where a plain file or directory goes. Raises BundleError for anything else."""
    path = PurePosixPath(member.name)
    plain = (member.isreg() or member.isdir()) and member.name.isprintable()
    if not plain or path.is_absolute() or ".." in path.parts:
        raise BundleError(f"{member.name!r} cannot be part of a release")
    if CACHE in path.parts:  # no part of the name that is checked, and run in place of the source
        raise BundleError(f"{member.name!r}: bytecode is made on the unit, a release brings none")
    return path


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    _make(path.parent)
    content = tar.extractfile(member)
    if content is None:
        raise BundleError(f"{member.name!r} has no content")
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
        os.fchmod(file.fileno(), _PROGRAM if member.mode & 0o100 else _PLAIN)


def _make(directory: Path) -> None:
    """With the directories above it, readable by all whatever the umask."""
    if not directory.is_dir():
        _make(directory.parent)
        directory.mkdir()
        directory.chmod(_PROGRAM)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()
