"""The table in which a spool keeps its entries, under checksums of their numbers and their data."""

from __future__ import annotations

from collections.abc import Sequence

from onboard.database import Database
from onboard.spool_entry import Entry, labelled, stored_entry

ENTRIES_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, first_record INTEGER NOT NULL,
    records INTEGER NOT NULL, label INTEGER NOT NULL, data BLOB NOT NULL, crc32 INTEGER NOT NULL);
"""
COLUMNS = "kind, first_record, records, label, data, crc32"
"""In the order of :func:`onboard.spool_entry.stored_entry`."""


class EntryTable:
    """Entries by number. What changes it belongs inside a transaction of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def empty(self) -> bool:
        """Is there no entry at all?"""
        return self._database.value("SELECT min(seq) FROM entries") is None

    def sound(self, first: int, last: int) -> dict[int, Entry]:
        """Entries numbered ``first`` to ``last`` that are what was written."""
        rows = self._database.rows(
            f"SELECT seq, {COLUMNS} FROM entries WHERE seq BETWEEN ? AND ?",  # noqa: S608
            first,
            last,
        )
        read = {seq: stored_entry(*stored) for seq, *stored in rows}
        return {seq: entry for seq, entry in read.items() if entry is not None}

    def size_bytes(self, first: int, last: int) -> int:
        """Data in entries ``first`` to ``last``."""
        return int(
            self._database.value(
                "SELECT total(length(data)) FROM entries WHERE seq BETWEEN ? AND ?", first, last
            )
        )

    def numbers(self, seq: int) -> tuple[int, int]:
        """First record and number of records of an entry, zeros if they are not to be believed."""
        for kind, first_record, records, label in self._database.rows(
            "SELECT kind, first_record, records, label FROM entries WHERE seq = ?", seq
        ):
            if labelled(kind, first_record, records, label):
                return first_record, records
        return 0, 0

    def strays(self, first: int, last: int) -> int:
        """How many entries have numbers outside ``first`` to ``last``."""
        count = "SELECT count(*) FROM entries WHERE seq < ? OR seq > ?"
        return int(self._database.value(count, first, last))

    def write(self, first: int, entries: Sequence[Entry]) -> None:
        """Number entries from ``first`` on; what lies there is replaced."""
        self._database.write_many(
            f"INSERT OR REPLACE INTO entries (seq, {COLUMNS}) "  # noqa: S608
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (seq, *entry[:3], entry.label, entry.data, entry.crc32)
                for seq, entry in enumerate(entries, first)
            ],
        )

    def keep_only(self, first: int, last: int) -> None:
        """Delete entries whose numbers are outside ``first`` to ``last``."""
        self._database.write("DELETE FROM entries WHERE seq < ? OR seq > ?", first, last)

    def renumber(self, less: int) -> None:
        """Take ``less`` from every number."""
        self._database.write("UPDATE entries SET seq = seq - ?", less)
