"""What the agent lays down for root: a slice of the update repository with one release in it.

Whatever lies here is only an offer; root verifies all of it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onboard.durable import write_bytes, write_text
from onboard.releases.assignment import ASSIGNMENTS_PATH, Assignment
from onboard.releases.unit_paths import PARTIAL
from protocol.errors import StoreError

READY = "ready"
"""Written last; systemd watches it."""


@dataclass(frozen=True)
class Inbox:
    """``directory`` belongs to the agent."""

    directory: Path

    def archive(self, served: str) -> Path:
        """Where the file that is served under ``served``, below ``targets/``, goes."""
        return self.directory / "targets" / served

    def offer(self, assignment: Assignment, data: bytes, lists: Mapping[str, bytes]) -> None:
        """Complete the slice, and say that it is.

        Args:
            assignment: decoded from ``data``.
            data: the signed assignments.
            lists: signed lists by file name.

        Raises:
            StoreError: the disk refuses.
        """
        folder, _, name = ASSIGNMENTS_PATH.rpartition("/")
        digest = hashlib.sha256(data).hexdigest()
        files = {self.archive(f"{folder}/{digest}.{name}"): data}
        files |= {self.directory / "metadata" / name: found for name, found in lists.items()}
        for path, content in files.items():
            write_bytes(path, content)
        self._keep_only({*files}, "targets/fleet", "metadata")
        self.remind(assignment.line.release)

    def remind(self, release: str) -> None:
        """Have root look here. Raises StoreError."""
        write_text(self.directory / READY, release)

    def keep_archive(self, wanted: Path | None = None) -> None:
        """Drop every other archive, begun or whole. Raises StoreError."""
        kept = {wanted, wanted.with_name(wanted.name + PARTIAL)} if wanted else set()
        self._keep_only(kept, "targets/release")

    def _keep_only(self, kept: set[Path], *folders: str) -> None:
        try:
            for folder in folders:
                for path in (self.directory / folder).rglob("*"):
                    if path.is_file() and path not in kept:
                        path.unlink()
        except OSError as error:
            raise StoreError(f"{self.directory} cannot be cleared ({error})") from error
