"""Lay an overlay over a root file system in a directory, and take back the last one.

What an earlier overlay left and this one has not is removed: a directory that serves one unit after
the other keeps nothing of the one before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from offboard.fleet.overlay import MANIFEST, Entry, Overlay, check_paths, paths_in
from offboard.fleet.release_tree import PLACE
from protocol.errors import ConfigError, StoreError

BOOKS = "var/opt/wombet"
"""Where a unit writes down which release is in force."""
Own = Callable[[Path], None]
_USERS_S = 30


def own_by_root(path: Path) -> None:
    """Give ``path`` itself, not what it links to, to root. Raises OSError if we are not root."""
    os.chown(path, 0, 0, follow_symlinks=False)


def apply_overlay(overlay: Overlay, rootfs: Path, own: Own = own_by_root) -> None:
    """Make ``rootfs`` hold the overlay, every file with its mode and owner.

    Args:
        overlay: what to lay over it.
        rootfs: the directory; it has to look like a root file system.
        own: gives a file to root.

    Raises:
        ConfigError: it is no root file system, or this machine's own, or a link leads out of it.
        StoreError: a file cannot be written.
    """
    check_rootfs(rootfs)
    try:
        _remove_last(rootfs, {entry.path for entry in overlay.entries})
        for folder in overlay.directories():
            path = _inside(rootfs, folder.path)
            if not path.is_dir() or folder.path in overlay.folders:
                path.mkdir(exist_ok=True)
                path.chmod(folder.mode)
                own(path)
        for entry in overlay.entries:
            _put(entry, _inside(rootfs, entry.path), own)
    except OSError as error:
        raise StoreError(f"{rootfs}: the overlay cannot be applied: {error}") from error


def check_rootfs(rootfs: Path) -> None:
    """Raises ConfigError unless ``rootfs`` is a root file system that is not this machine's."""
    if not (rootfs / "etc" / "passwd").is_file() or not (rootfs / "usr").is_dir():
        raise ConfigError(
            f"{rootfs} is no root file system (etc/passwd, usr); unpack NVIDIA's sample root file "
            "system there and run its apply_binaries.sh, or debootstrap one"
        )
    if rootfs.resolve() == Path("/"):
        raise ConfigError("this machine's own root is not written to; use make provision")


def make_users(rootfs: Path) -> None:
    """Enter the runtime's user and groups in ``rootfs``, as the overlay in it says.

    Raises:
        ConfigError: this machine's systemd cannot do it.
    """
    argv = ["systemd-sysusers", f"--root={rootfs.resolve()}", "wombet.conf"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_USERS_S, check=False)
    except OSError as error:
        raise ConfigError(f"systemd-sysusers is needed ({error.strerror})") from error
    if done.returncode != 0:
        raise ConfigError(f"{rootfs}: users cannot be made: {done.stderr.strip()}")


def _put(entry: Entry, path: Path, own: Own) -> None:
    """Write beside and rename: a file is the old or the new one."""
    partial = path.with_name(f".{path.name}.wombet")
    partial.unlink(missing_ok=True)
    if entry.link is not None:
        partial.symlink_to(entry.link)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(partial, flags, 0o600), "wb") as file:
            file.write(entry.data)
        partial.chmod(entry.mode)
    own(partial)
    partial.replace(path)


def _inside(rootfs: Path, path: str) -> Path:
    """``path`` below ``rootfs``, whose directories may be links as long as they stay below it.

    Raises:
        ConfigError: it leads out, or is a directory that is in the way.
    """
    root = rootfs.resolve()
    pure = PurePosixPath(path)
    parent = (root / pure.parent).resolve()
    if not parent.is_relative_to(root):
        raise ConfigError(f"{rootfs}: {pure.parent} is a link that leads out of it")
    return parent / pure.name


def _remove_last(rootfs: Path, kept: set[str]) -> None:
    """What an earlier overlay put here and the new one does not, and its releases."""
    manifest = _inside(rootfs, MANIFEST)
    if manifest.is_file():
        last = paths_in(manifest.read_bytes())
        check_paths(last)
        for path in set(last) - kept:
            _inside(rootfs, path).unlink(missing_ok=True)
    releases = _inside(rootfs, f"{PLACE}/releases")
    if releases.is_dir() and not releases.is_symlink():
        shutil.rmtree(releases)
    for link in ("current", "previous", "golden"):
        _inside(rootfs, f"{PLACE}/{link}").unlink(missing_ok=True)
    shutil.rmtree(_inside(rootfs, BOOKS), ignore_errors=True)
