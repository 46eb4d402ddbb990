"""The tables of the episode catalogue, and whether those in a file are laid out so."""

from __future__ import annotations

from pathlib import Path

from offboard.database import Database, open_database
from protocol.errors import StoreError

LAYOUT = 2
"""Of the tables below; SQLite keeps it as ``user_version``."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS robot_file (digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS streams (
    robot TEXT, epoch TEXT, last INTEGER NOT NULL, crc32 INTEGER NOT NULL,
    PRIMARY KEY (robot, epoch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT, robot TEXT NOT NULL, epoch TEXT NOT NULL,
    seq INTEGER NOT NULL, first_record INTEGER NOT NULL, records INTEGER NOT NULL,
    data BLOB NOT NULL, crc32 INTEGER, place INTEGER NOT NULL, UNIQUE (robot, epoch, seq));
CREATE INDEX IF NOT EXISTS batches_in_order ON batches (robot, first_record, id);
CREATE TABLE IF NOT EXISTS gaps (
    robot TEXT, epoch TEXT, seq INTEGER, first_record INTEGER NOT NULL, records INTEGER NOT NULL,
    reason TEXT NOT NULL, crc32 INTEGER NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY (robot, epoch, seq));
CREATE TABLE IF NOT EXISTS episodes (
    robot TEXT, generation INTEGER, episode INTEGER, records INTEGER NOT NULL,
    last_record INTEGER NOT NULL, end INTEGER NOT NULL, path TEXT NOT NULL, sha256 TEXT,
    PRIMARY KEY (robot, generation, episode)) WITHOUT ROWID;
"""


def open_tables(path: Path, robot_digest: str) -> Database:
    """Open or make the catalogue for robots of one file, whose digest this is.

    Raises:
        StoreError: it cannot be opened, or was made for another robot file or by another version.
    """
    database = open_database(path, _SCHEMA)
    try:
        made_for = database.value("SELECT digest FROM robot_file")
        if made_for is None:
            with database.transaction():
                database.write("INSERT INTO robot_file VALUES (?)", robot_digest)
                database.write(f"PRAGMA user_version = {LAYOUT}")
        check_layout(database, path)
        if made_for not in (None, robot_digest):
            raise StoreError(
                f"{path} was made for another robot file; use a new run directory, "
                f"or the robot file of digest {made_for:.12}"
            )
    except StoreError:
        database.close()
        raise
    return database


def check_layout(database: Database, path: Path) -> None:
    """Raises StoreError if the tables in ``path`` are laid out as another version has them."""
    found = database.value("PRAGMA user_version")
    if found != LAYOUT:
        raise StoreError(
            f"{path} has tables of layout {found}, this version reads layout {LAYOUT}; open it "
            "with the version that wrote it (a run notes its commit), or start a new run directory"
        )
