"""Where a unit learns what it is to run and gets it: an update repository, at hand or far away.

The same for the agent, which fetches over the network and has no rights, and for root, who believes
nobody and verifies all of it again: signatures, expiry, version floor, content.
"""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from onboard.releases.assignment import (
    ARCHIVE_MAX_BYTES,
    ASSIGNMENTS_MAX_BYTES,
    ASSIGNMENTS_PATH,
    Assignment,
    Line,
    assignment_for,
    decode_assignments,
    this_target,
)
from onboard.releases.download import Rest, download
from onboard.update_client import UpdateClient
from onboard.version_floor import read_floor, write_floor

RESERVE_BYTES = 64 << 20
"""What a release leaves free on the disk of the system."""
_HOUR_S = 3600


class Depot:
    """One repository, with a version floor of its own."""

    def __init__(
        self, client: UpdateClient, rest: Rest, floor: Path, target: str | None = None
    ) -> None:
        """``rest`` gives what ``client`` has found listed; ``floor`` is the version floor's file;
        ``target`` is what this machine can run.
        """
        self._client, self._rest, self._floor = client, rest, floor
        self._target = target or this_target()
        self.assignments = b""

    def assignment(self, unit: str) -> Assignment:
        """What ``unit`` is to run, as of now. The floor is raised before this returns.

        Raises:
            BundleError: unreachable, not believed, or nothing is assigned.
            StoreError: the floor cannot be read or kept.
        """
        self._raise_floor()
        self.assignments = self._client.fetch(ASSIGNMENTS_PATH, ASSIGNMENTS_MAX_BYTES)
        return assignment_for(decode_assignments(self.assignments), unit, self._target)

    def _raise_floor(self) -> None:
        """The disk is spared as long as only time has passed."""
        floor = read_floor(self._floor)
        found = self._client.refresh(floor)
        if replace(found, seen_s=floor.seen_s) != floor or found.seen_s > floor.seen_s + _HOUR_S:
            write_floor(self._floor, found)

    def served(self, line: Line) -> str:
        """Where a repository serves the archive of ``line``, below targets/. Raises BundleError."""
        return self._client.listed(line.path, ARCHIVE_MAX_BYTES).path

    def fetch(self, line: Line, path: Path, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Have the archive of ``line`` in ``path``, as it was signed. Raises BundleError."""
        download(self._client.listed(line.path, ARCHIVE_MAX_BYTES), self._rest, path, reserve_bytes)
