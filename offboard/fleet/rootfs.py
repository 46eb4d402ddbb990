"""Lay an overlay over a root file system in a directory, and take back the last one.

What an earlier overlay left and this one has not is removed, and a file of the system's in whose
place it lay comes back: a directory that serves one unit after the other keeps nothing of the one
before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from offboard.fleet.overlay import (
    LINKS,
    MANIFEST,
    Entry,
    Overlay,
    check_paths,
    links_in,
    paths_in,
)
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
        last = _last(rootfs)
        _remove_last(rootfs, last - {entry.path for entry in overlay.entries})
        for folder in overlay.directories():
            path = _inside(rootfs, folder.path)
            if not path.is_dir() or folder.path in overlay.folders:
                path.mkdir(exist_ok=True)
                path.chmod(folder.mode)
                own(path)
        for entry in overlay.entries:
            path = _inside(rootfs, entry.path)
            if entry.path not in last and path.is_file() and not path.is_symlink():
                path.rename(_put_aside(path))
            _put(entry, path, own)
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
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"{rootfs}: systemd-sysusers did not end within {_USERS_S} s; try again when this "
            "machine is less busy"
        ) from error
    if done.returncode != 0:
        raise ConfigError(f"{rootfs}: users cannot be made: {done.stderr.strip()}")


def has_user(rootfs: Path, user: str) -> bool:
    """Whether ``rootfs`` can be read and has ``user``."""
    try:
        lines = (rootfs / "etc" / "passwd").read_bytes().splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{user}:".encode()) for line in lines)


def set_hostname(rootfs: Path, name: str, own: Own = own_by_root) -> None:
    """Call the system in ``rootfs`` by ``name``, whatever it was called before.

    Raises:
        ConfigError: a link leads out of it.
        StoreError: a file cannot be read or written.
    """
    try:
        hosts = _inside(rootfs, "etc/hosts")
        lines = hosts.read_text(encoding="utf-8").splitlines() if hosts.is_file() else []
        lines = [line for line in lines if line.split()[:1] != ["127.0.1.1"]]
        text = "".join(f"{line}\n" for line in [*lines, f"127.0.1.1 {name}"])
        _put(Entry("etc/hosts", text.encode()), hosts, own)
        _put(Entry("etc/hostname", f"{name}\n".encode()), _inside(rootfs, "etc/hostname"), own)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{rootfs}: it cannot be called {name}: {error}") from error


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


def _last(rootfs: Path) -> set[str]:
    """The files and links that an earlier overlay put here, its two lists with them.

    Raises:
        ConfigError: a list names what cannot be of an overlay.
    """
    manifest, links = _inside(rootfs, MANIFEST), _inside(rootfs, LINKS)
    last = paths_in(manifest.read_bytes()) if manifest.is_file() else []
    if last and links.is_file():
        last += links_in(links.read_bytes())
    check_paths(last)
    return {*last, MANIFEST, LINKS}


def _put_aside(path: Path) -> Path:
    """Where a file of the system's waits until no overlay lies in its place any more."""
    return path.with_name(f".{path.name}.before-wombet")


def _remove_last(rootfs: Path, gone: set[str]) -> None:
    """What an earlier overlay put here and the new one does not, and its releases."""
    for name in gone:
        path = _inside(rootfs, name)
        path.unlink(missing_ok=True)
        if _put_aside(path).is_file():
            _put_aside(path).rename(path)
    releases = _inside(rootfs, f"{PLACE}/releases")
    if releases.is_dir() and not releases.is_symlink():
        shutil.rmtree(releases)
    for link in ("current", "previous", "golden"):
        _inside(rootfs, f"{PLACE}/{link}").unlink(missing_ok=True)
    shutil.rmtree(_inside(rootfs, BOOKS), ignore_errors=True)
