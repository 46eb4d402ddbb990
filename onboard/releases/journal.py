"""The journal of a unit's releases: which is in force, on which terms, and what happened.

It is the truth; the links below ``/opt/wombet`` follow it. Replaced whole, forced to the disk,
under a checksum: a power cut leaves the old one or the new one, and a flipped bit is noticed.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path

from onboard.durable import read_text, write_text
from onboard.releases.unit_paths import LINKS, UnitPaths
from protocol.errors import StoreError

KEPT_ENTRIES = 20
_OTHERS_READ = 0o644


class Phase(str, Enum):
    """On which terms the current release is in force."""

    SETTLED = "settled"
    """It has proven itself, or there is no other."""
    TRIAL = "trial"
    """It is new and has to prove itself; the previous one waits."""
    RETURNED = "returned"
    """The one before was taken back; this one has to show that it runs, or golden takes over."""


@dataclass(frozen=True)
class Entry:
    """What happened to a release, and when (Unix time)."""

    at_s: float
    event: str
    release: str
    reason: str = ""


@dataclass(frozen=True)
class Journal:
    """What is in force.

    Attributes:
        current: the release that runs.
        previous: what to return to; empty if there is nothing.
        golden: the release the unit was flashed with, or a later one named so.
        phase: the terms.
        counter: of the newest assignment obeyed; nothing older is.
        boots: starts of the machine since the release was last seen ticking, while on trial.
        promote: it becomes golden when it is proven.
        health_s: how long it has to run without trouble to be proven.
        failed: releases that were taken back, with the counter they had been assigned by.
        log: the last entries, oldest first.
    """

    current: str
    previous: str = ""
    golden: str = ""
    phase: Phase = Phase.SETTLED
    counter: int = 0
    boots: int = 0
    promote: bool = False
    health_s: float = 60.0
    failed: dict[str, int] = field(default_factory=dict)
    log: tuple[Entry, ...] = ()

    @property
    def pending(self) -> str:
        """The release on trial; empty if none is."""
        return self.current if self.phase is Phase.TRIAL else ""

    @property
    def needed(self) -> set[str]:
        """Releases that must stay on the disk."""
        return {self.current, self.previous, self.golden} - {""}

    def noting(self, entry: Entry) -> Journal:
        """With one more entry in the log."""
        return replace(self, log=(*self.log, entry)[-KEPT_ENTRIES:])


def encode_journal(journal: Journal) -> str:
    """One line: CRC-32 of what follows, then JSON."""
    text = json.dumps({**asdict(journal), "phase": journal.phase.value})
    return f"{zlib.crc32(text.encode('ascii')):08x} {text}"


def decode_journal(line: str) -> Journal:
    """Of :func:`encode_journal`. Raises StoreError."""
    check, _, text = line.partition(" ")
    if check != f"{zlib.crc32(text.encode('ascii', 'replace')):08x}":
        raise StoreError("the journal of releases is damaged: its checksum is wrong")
    try:
        fields = json.loads(text)
        fields["phase"] = Phase(fields["phase"])
        fields["log"] = tuple(Entry(**entry) for entry in fields["log"])
        known = {name: fields[name] for name in Journal.__dataclass_fields__ if name in fields}
        return Journal(**known)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"the journal of releases cannot be read: {error!r}") from error


def read_journal(paths: UnitPaths) -> Journal:
    """What is in force; read from the links where nothing was written down yet.

    Raises:
        StoreError: the journal is damaged, or there are no links either.
    """
    line = read_text(paths.journal)
    return decode_journal(line) if line else journal_of_links(paths)


def journal_of_links(paths: UnitPaths) -> Journal:
    """What the links say. With something to return to, the current release proves itself again.

    Raises:
        StoreError: there is no current release.
    """
    current, previous, golden = (_linked(paths.program / name) for name in LINKS)
    if not current:
        raise StoreError(f"{paths.program}/current leads to no release; provision the unit again")
    there = paths.usable(previous) and previous != current
    return Journal(
        current,
        previous if there else "",
        golden or current,
        Phase.TRIAL if there else Phase.SETTLED,
    )


def recalled_journal(paths: UnitPaths) -> tuple[Journal, str]:
    """What is in force, and what is wrong with the journal if the links had to be asked.

    Raises:
        StoreError: there is no current release.
    """
    try:
        return read_journal(paths), ""
    except StoreError as error:
        return journal_of_links(paths), f"{error}; going by the links"


def write_journal(paths: UnitPaths, journal: Journal) -> None:
    """Replace it durably; everybody may read it. Raises StoreError."""
    write_text(paths.journal, encode_journal(journal), _OTHERS_READ)


def _linked(link: Path) -> str:
    return link.readlink().name if link.is_symlink() else ""
