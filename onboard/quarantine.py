"""Entries nobody may send: damaged ones, and those the server refused, kept for an engineer."""

from __future__ import annotations

from contextlib import suppress

from onboard.database import Database, FullError

QUARANTINE_MAX_ENTRIES = 64

QUARANTINE_SCHEMA = """
CREATE TABLE IF NOT EXISTS quarantine (
    number INTEGER PRIMARY KEY, epoch TEXT, seq, reason TEXT, first_record, records, data, crc32);
"""


class Quarantine:
    """The newest few such entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def copy(self, epoch: str, seq: int, reason: str) -> None:
        """Keep what lies under ``seq`` as it is, if there is room. Raises StoreError."""
        with suppress(FullError), self._database.transaction():
            self._database.write(
                "INSERT INTO quarantine (epoch, seq, reason, first_record, records, data, crc32) "
                "SELECT ?, seq, ?, first_record, records, data, crc32 FROM entries WHERE seq = ?",
                epoch,
                reason,
                seq,
            )
            self._database.write(
                "DELETE FROM quarantine WHERE number <= (SELECT max(number) FROM quarantine) - ?",
                QUARANTINE_MAX_ENTRIES,
            )
