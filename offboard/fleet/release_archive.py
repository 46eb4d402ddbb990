"""A release as one file: what travels to units, the same bytes for the same release."""

from __future__ import annotations

import zstandard

from offboard.fleet.modules import Target
from offboard.fleet.overlay import tar_of
from offboard.fleet.release_tree import Release

FOLDER = "release"
_LEVEL = 6


def release_path(release: str, target: Target) -> str:
    """The target path under which release ``release`` (its id) is signed."""
    return f"{FOLDER}/{target.name}/{release}.tar.zst"


def release_archive(release: Release) -> bytes:
    """USTAR of its files, relative to its folder, compressed with Zstandard.

    The frame says how long the archive is, so that a unit can refuse it before it unpacks it.
    """
    return zstandard.ZstdCompressor(level=_LEVEL).compress(tar_of(release.entries))
