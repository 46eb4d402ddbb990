"""The links below ``/opt/wombet``: they change at once, durably, and only to follow the journal."""

from __future__ import annotations

import shutil
from pathlib import Path

from onboard.durable import sync
from onboard.releases.journal import Journal
from onboard.releases.unit_paths import LINKS, PARTIAL, RELEASES, UnitPaths
from protocol.errors import StoreError


def follow(paths: UnitPaths, journal: Journal) -> bool:
    """Make the links say what the journal says; returns whether they said something else.

    Raises:
        StoreError: one cannot be changed.
    """
    return sum(_point(paths.program / name, getattr(journal, name)) for name in LINKS) > 0


def leads_to(paths: UnitPaths, release: str) -> bool:
    """Is ``release`` what control would be, or was, started from?"""
    link = paths.program / "current"
    return link.is_symlink() and link.readlink().name == release


def sweep(paths: UnitPaths) -> None:
    """Remove what an install that was cut short has left behind."""
    for path in paths.releases.glob(f"*{PARTIAL}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _point(link: Path, release: str) -> bool:
    target = f"{RELEASES}/{release}"
    try:
        if (str(link.readlink()) if link.is_symlink() else "") == (target if release else ""):
            return False
        if release:
            beside = link.with_name(f".{link.name}{PARTIAL}")
            beside.unlink(missing_ok=True)
            beside.symlink_to(target)
            beside.replace(link)
        else:
            link.unlink()
        sync(link.parent)
        return True
    except OSError as error:
        raise StoreError(f"{link} cannot be changed ({error})") from error
