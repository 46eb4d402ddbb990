"""Where a unit keeps its releases, and what is known about them.

::

    opt/wombet/releases/ID          unpacked releases, named by their content
    opt/wombet/current -> releases/ID           likewise previous, golden
    var/opt/wombet/journal.json     what is in force; root's, others may read it
    var/lib/wombet/releases/inbox   what the agent has fetched; the agent's, not trusted
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONTROL, AGENT = "wombet-control.service", "wombet-agent.service"
JUDGE = "wombet-release-judge.service"
RELEASES = "releases"
LINKS = ("current", "previous", "golden")
PARTIAL = ".part"
"""How the name of what is not complete ends."""


@dataclass(frozen=True)
class UnitPaths:
    """Everything below the unit's root directory."""

    root: Path

    @property
    def program(self) -> Path:
        """Releases and the links to them."""
        return self.root / "opt" / "wombet"

    @property
    def releases(self) -> Path:
        """One folder for each release."""
        return self.program / RELEASES

    @property
    def books(self) -> Path:
        """What root writes down."""
        return self.root / "var" / "opt" / "wombet"

    @property
    def journal(self) -> Path:
        """Which release is in force, and on which terms."""
        return self.books / "journal.json"

    @property
    def lock(self) -> Path:
        """Held by whoever changes anything here."""
        return self.books / "lock"

    @property
    def inbox(self) -> Path:
        """What the agent has fetched: metadata/ and targets/ of an update repository."""
        return self.root / "var" / "lib" / "wombet" / RELEASES / "inbox"

    @property
    def state(self) -> Path:
        """The runtime's own durable directory."""
        return self.root / "var" / "lib" / "wombet"

    @property
    def socket(self) -> Path:
        """Where control answers."""
        return self.root / "run" / "wombet" / "control.sock"

    @property
    def trust(self) -> Path:
        """The root of trust that the unit was flashed with."""
        return self.root / "etc" / "wombet" / "identity" / "tuf" / "root.json"

    @property
    def unit(self) -> Path:
        """Who this unit is."""
        return self.root / "etc" / "wombet" / "unit.json"

    def release(self, name: str) -> Path:
        """The folder of one release."""
        return self.releases / name

    def usable(self, name: str) -> bool:
        """Is there a program to start?"""
        return bool(name) and (self.release(name) / "bin" / "wombet-onboard").is_file()
