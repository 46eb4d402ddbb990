"""A SQLite file shared by the threads of one process: one connection, one lock, durable commits.

Same settings as on the robot, for the same reasons. Source: FLEET.md § 3.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocol.errors import StoreError

_PRAGMAS = ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL")


def open_database(path: Path, schema: str) -> Database:
    """Open or make the file and the tables of ``schema``.

    Raises:
        StoreError: it is damaged, cannot be opened, or another process holds it.
    """
    with _guarded(path):
        connection = sqlite3.connect(
            path, timeout=1.0, isolation_level=None, check_same_thread=False
        )
    connection.text_factory = _text
    try:
        with _guarded(path):
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(schema)
    except StoreError:
        connection.close()
        raise
    return Database(path, connection)


class Database:
    """One exclusive connection; every failure is a StoreError that names the file."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = threading.RLock()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        with self._lock, _guarded(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    def value(self, sql: str, *parameters: object) -> Any:
        """First column of the first row, or None."""
        rows = self.rows(sql, *parameters)
        return rows[0][0] if rows else None

    def write(self, sql: str, *parameters: object) -> None:
        """One statement inside a :meth:`transaction`."""
        self._connection.execute(sql, parameters)

    def write_many(self, sql: str, parameters: Iterable[tuple[object, ...]]) -> None:
        """One statement for each tuple, inside a :meth:`transaction`."""
        self._connection.executemany(sql, parameters)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes of the block become durable together, or none does. Raises StoreError."""
        with self._lock, _guarded(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def _text(data: bytes) -> str:
    """Text of a damaged file need not be UTF-8."""
    return data.decode(errors="replace")


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
