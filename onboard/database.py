"""A SQLite file that one process owns: durable commits, one connection, one family of errors.

WAL with ``synchronous=FULL`` survives power cuts; ``locking_mode=EXCLUSIVE`` keeps every other
process out, which also avoids the WAL-reset bug of SQLite before 3.51.3. Source: FLEET.md § 3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from protocol.errors import StoreError

_PAGE_BYTES = 4096
_LOG_PAGES = 256
"""The log is reused from its beginning after about so many; the default is 4 MB of them."""
_KEPT_FILES = 3
_PARTS = ("-wal", "")  # renamed in this order: a log without its file would be lost


class DamagedError(StoreError):
    """The file is not a healthy database."""


class FullError(StoreError):
    """No room is left: the disk, or the file's own limit."""


def open_database(path: Path, schema: str, max_bytes: int) -> Database:
    """Open or make the file, check its structure and make the tables of ``schema``.

    Raises:
        DamagedError: it is no database, or a damaged one.
        StoreError: it cannot be opened, or another process holds it.
    """
    with _guarded(path):
        connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    connection.text_factory = _text
    try:
        with _guarded(path):
            _prepare(connection, max_bytes)
            connection.executescript(schema)
    except StoreError:
        connection.close()
        raise
    return Database(path, connection)


def set_aside(path: Path) -> Path:
    """Rename a damaged file and its log out of the way; returns the new name.

    Of those set aside before, the newest few are kept.
    """
    before = set_aside_before(path)
    number = 1 + max(map(_number, before), default=0)
    kept = path.with_name(f"{path.name}.damaged-{number}")
    try:
        for suffix in _PARTS:
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(kept.with_name(kept.name + suffix))
        for old in before[: 1 - _KEPT_FILES]:
            for suffix in _PARTS:
                old.with_name(old.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"damaged {path} cannot be set aside: {error}") from error
    return kept


def set_aside_before(path: Path) -> list[Path]:
    """Damaged files that :func:`set_aside` has kept, oldest first."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*[0-9]"), key=_number)


def _number(kept: Path) -> int:
    return int(kept.name.rpartition("-")[2])


class Database:
    """One exclusive connection; every failure is a StoreError that names the file."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        with _guarded(self._path):
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

    def empty_log(self) -> None:
        """Move the log into the file, if there is room for that: on a full disk it may be the rest.

        SQLite does so by itself only after a commit, and a full disk lets none happen.
        """
        with suppress(StoreError):
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes of the block become durable together, or none does.

        Raises:
            FullError: no room is left; nothing was written.
            StoreError: the file failed otherwise; nothing was written.
        """
        with _guarded(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def _prepare(connection: sqlite3.Connection, max_bytes: int) -> None:
    for pragma in (
        "locking_mode = EXCLUSIVE",
        "journal_mode = WAL",
        "synchronous = FULL",
        f"max_page_count = {max_bytes // _PAGE_BYTES}",
        f"wal_autocheckpoint = {_LOG_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise DamagedError(f"database is damaged: {verdict}")


def _text(data: bytes) -> str:
    """Text of a damaged file need not be UTF-8; who wrote it will not know it again."""
    return data.decode(errors="replace")


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _family(str(error))(f"{path}: {error}") from error


def _family(text: str) -> type[StoreError]:
    if "full" in text:
        return FullError
    if "malformed" in text or "not a database" in text:
        return DamagedError
    return StoreError
