"""Small named values beside the spool's entries, each under a checksum of its own.

SQLite does not notice a flipped bit in a value, and one in these numbers would lose records without
a trace. Source: FLEET.md § 3.
"""

from __future__ import annotations

import zlib
from typing import Any

from onboard.database import Database

NOTES_SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    name TEXT PRIMARY KEY, value TEXT NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID;
"""


class Notes:
    """Reads and writes values by name; a damaged one is as good as absent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[str, str]:
        """Every sound value."""
        return {name: value for name, value, crc in self._rows() if _sound(name, value, crc)}

    def get(self, name: str) -> str | None:
        """The value kept under ``name``, or None."""
        return self.all().get(name)

    def put(self, name: str, value: object) -> None:
        """Keep a value; inside a transaction of the database."""
        text = str(value)
        self._database.write(
            "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", name, text, _crc32(name, text)
        )

    def drop_damaged(self) -> int:
        """Remove values that are not what was written; how many there were."""
        damaged = [name for name, value, crc in self._rows() if not _sound(name, value, crc)]
        if damaged:
            with self._database.transaction():
                self._database.write_many(
                    "DELETE FROM notes WHERE name = ?", [(name,) for name in damaged]
                )
        return len(damaged)

    def _rows(self) -> list[tuple[Any, ...]]:
        return self._database.rows("SELECT name, value, crc32 FROM notes")


def _crc32(name: str, value: str) -> int:
    return zlib.crc32(f"{name}={value}".encode())


def _sound(name: object, value: object, crc: object) -> bool:
    return isinstance(name, str) and isinstance(value, str) and _crc32(name, value) == crc
