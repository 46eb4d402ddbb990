"""Files to be laid over a unit's root file system: whole, in order, the same bytes every time.

A manifest with the SHA-256 of each lies among them, and a list of the links, which have none.
Everything belongs to root; what others may read says its mode.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from protocol.errors import ConfigError

MANIFEST = "etc/wombet/overlay.sha256"
LINKS = "etc/wombet/overlay.links"
"""Beside the manifest, whose format is that of ``sha256sum`` and knows no links."""
SECRET_MODE = 0o600
_DIRECTORY_MODE = 0o755


@dataclass(frozen=True)
class Entry:
    """A regular file, or a symbolic link if it has a ``link``."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str | None = None


@dataclass(frozen=True)
class Folder:
    """A directory that needs another mode than the usual."""

    path: str
    mode: int


class Overlay:
    """Entries sorted by path, each below the root, none twice; the two lists are added.

    Raises:
        ConfigError: a path leaves the root, comes twice, or lies below a file.
    """

    def __init__(self, entries: Iterable[Entry], folders: Iterable[Folder] = ()) -> None:
        named = sorted(entries, key=lambda entry: entry.path)
        check_paths([entry.path for entry in named])
        listed = [*named, Entry(LINKS, links_of(named))]
        listed.sort(key=lambda entry: entry.path)
        manifest = Entry(MANIFEST, manifest_of(listed))
        self.entries: Sequence[Entry] = sorted([*listed, manifest], key=lambda entry: entry.path)
        self.folders = {folder.path: folder.mode for folder in folders}

    def directories(self) -> list[Folder]:
        """Every directory above an entry, parents first."""
        modes = dict.fromkeys(folders_above(self.entries, self.folders), _DIRECTORY_MODE)
        return [Folder(path, mode) for path, mode in sorted((modes | self.folders).items())]

    def tar(self) -> bytes:
        """The archive of everything."""
        return tar_of(self.entries, self.directories())


def folders_above(entries: Iterable[Entry], folders: Iterable[str] = ()) -> list[str]:
    """Every directory above files and folders, parents first."""
    paths = [*(entry.path for entry in entries), *folders]
    return sorted({str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"."})


def tar_of(entries: Sequence[Entry], folders: Sequence[Folder] | None = None) -> bytes:
    """The archive. It depends on nothing but the entries: no clock, no user, no umask."""
    if folders is None:
        folders = [Folder(path, _DIRECTORY_MODE) for path in folders_above(entries)]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder in folders:
            head = _head(folder.path, folder.mode)
            head.type = tarfile.DIRTYPE
            archive.addfile(head)
        for entry in entries:
            head = _head(entry.path, entry.mode)
            if entry.link is None:
                head.size = len(entry.data)
            else:
                head.type, head.linkname = tarfile.SYMTYPE, entry.link
            archive.addfile(head, io.BytesIO(entry.data))
    return buffer.getvalue()


def manifest_of(entries: Sequence[Entry]) -> bytes:
    """One line a regular file, as ``sha256sum --check`` reads it at the root."""
    lines = [
        f"{hashlib.sha256(entry.data).hexdigest()}  {entry.path}\n"
        for entry in entries
        if entry.link is None
    ]
    return "".join(lines).encode()


def paths_in(manifest: bytes) -> list[str]:
    """The paths that a manifest names."""
    return [line[66:] for line in manifest.decode().splitlines()]


def links_of(entries: Sequence[Entry]) -> bytes:
    """The paths of the symbolic links, one a line."""
    return "".join(f"{entry.path}\n" for entry in entries if entry.link is not None).encode()


def links_in(data: bytes) -> list[str]:
    """The paths that a list of links names."""
    return data.decode().splitlines()


def check_paths(paths: Sequence[str]) -> None:
    """Raises ConfigError unless all are distinct, relative, printable (units take no others), and
    none passes through another.
    """
    taken = set(paths)
    if len(taken) != len(paths):
        raise ConfigError("two files of the overlay have the same path")
    for path in paths:
        pure = PurePosixPath(path)
        plain = str(pure) == path and not pure.is_absolute() and ".." not in pure.parts
        if not plain or not path.isprintable() or taken & {str(parent) for parent in pure.parents}:
            raise ConfigError(f"{path!r} cannot be a file of the overlay")


def _head(path: str, mode: int) -> tarfile.TarInfo:
    head = tarfile.TarInfo(path)
    head.mode, head.mtime = mode, 0
    head.uid = head.gid = 0
    head.uname = head.gname = "root"
    return head
