"""Where verified bundles lie on this robot: ``bundles/VERSION/`` below its durable directory."""

from __future__ import annotations

from pathlib import Path


def bundles_of(state: Path) -> Path:
    """The directory of all bundles."""
    return state / "bundles"


def held_versions(bundles: Path) -> list[int]:
    """Versions held, ascending."""
    if not bundles.is_dir():
        return []
    return sorted(int(path.name) for path in bundles.iterdir() if path.name.isdigit())
