"""The releases on a unit's disk: each whole under its name, as it was signed, or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from onboard.releases.archive import identity, unpack
from onboard.releases.assignment import Line
from onboard.releases.depot import RESERVE_BYTES, Depot
from onboard.releases.install_steps import Step, Watch, unwatched
from onboard.releases.journal import Journal
from onboard.releases.links import sweep
from onboard.releases.unit_paths import PARTIAL, UnitPaths
from protocol.errors import BundleError, StoreError, WombetError

STATE_ROOM_BYTES = 16 << 20
"""Of the runtime's own disk: a release that finds it full would be blamed for it."""


@dataclass(frozen=True)
class Stock:
    """Adds to the releases of ``paths`` and takes away. The caller holds the lock.

    Attributes:
        paths: where they lie.
        at: gets the steps.
        flush: forces everything written so far to the disk.
    """

    paths: UnitPaths
    at: Watch = unwatched
    flush: Callable[[], None] = os.sync

    def place(self, depot: Depot, line: Line) -> bool:
        """Have the release under its name, as it was signed; returns whether it was not before.

        Raises:
            BundleError: it cannot be had.
            StoreError: the runtime's own disk is full.
        """
        if shutil.disk_usage(self.paths.state).free < STATE_ROOM_BYTES:
            raise StoreError(f"{self.paths.state} is full; make room before a release is tried")
        folder = self.paths.release(line.release)
        if folder.is_dir():
            return False
        try:
            self._fetch(depot, line, folder)
        except WombetError:
            sweep(self.paths)
            raise
        self.at(Step.PLACED)
        return True

    def check(self, line: Line) -> None:
        """What has lain on the disk for a while may be damaged. Raises BundleError."""
        folder = self.paths.release(line.release)
        try:
            found = identity(folder)
        except OSError as error:
            found = str(error)
        if found != line.release:
            _discard(folder)
            raise BundleError(
                f"release {line.release} lay here damaged ({found}); it is fetched next time"
            )

    def prune(self, journal: Journal, wanted: str = "") -> list[str]:
        """Remove releases that ``journal`` does not need, but ``wanted``; returns their names."""
        found = sorted(path.name for path in self.paths.releases.iterdir())
        unneeded = [name for name in found if name not in journal.needed | {wanted}]
        for name in unneeded:
            _discard(self.paths.release(name))
        return unneeded

    def _fetch(self, depot: Depot, line: Line, folder: Path) -> None:
        archive = self.paths.releases / f"{line.release}.tar{PARTIAL}"
        depot.fetch(line, archive)
        self.at(Step.FETCHED)
        unpack(archive, folder, RESERVE_BYTES, self.flush, self.at)
        archive.unlink()


def _discard(folder: Path) -> None:
    """Remove a release. A power cut on the way leaves what is swept at the next boot, and no half
    of a release under its name.
    """
    part = folder.with_name(folder.name.removesuffix(PARTIAL) + PARTIAL)
    if part != folder:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):  # it is gone already, or the disk takes nothing
            folder.rename(part)
    shutil.rmtree(part, ignore_errors=True)
