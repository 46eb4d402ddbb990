"""Releases that were made here, each as its archive: what can be deployed, and deployed again.

::

    OUT/releases/TARGET/ID.tar.zst
"""

from __future__ import annotations

from pathlib import Path

from offboard.durable_file import write_durably
from offboard.fleet.modules import Target
from offboard.fleet.release_archive import release_archive
from offboard.fleet.release_tree import Release
from protocol.errors import ConfigError, StoreError


class ReleaseStore:
    """The folder of archives; what is there is never changed."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def keep(self, release: Release, target: Target) -> Path:
        """Put ``release`` there unless it is there. Raises StoreError."""
        path = self.path(release.id, target)
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{path.parent} cannot be made: {error.strerror}") from error
            write_durably(path, release_archive(release))
        return path

    def archive(self, release: str, target: Target) -> bytes:
        """The archive of the release with that id. Raises ConfigError if it is not there."""
        path = self.path(release, target)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"release {release} is not at hand ({path}: {error.strerror}); it was made on "
                "another machine, or removed"
            ) from error

    def has(self, release: str, target: Target) -> bool:
        """Is the release with that id there?"""
        return self.path(release, target).is_file()

    def path(self, release: str, target: Target) -> Path:
        """Where it lies or would."""
        return self._place / target.name / f"{release}.tar.zst"
