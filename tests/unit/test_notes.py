"""Small values under checksums: what was written comes back, or nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onboard.database import Database, open_database
from onboard.notes import NOTES_SCHEMA, Notes


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "notes.sqlite", NOTES_SCHEMA, 1 << 20)
    yield database
    database.close()


@pytest.fixture
def notes(database: Database) -> Notes:
    notes = Notes(database)
    with database.transaction():
        notes.put("floor", 7)
        notes.put("epoch", "abc")
        notes.put("floor", 8)
    return notes


def test_the_newest_value_comes_back(notes):
    assert notes.all() == {"floor": "8", "epoch": "abc"}
    assert notes.get("floor") == "8"
    assert notes.get("never") is None


@pytest.mark.parametrize(
    "damage",
    [
        "value = '9'",
        "name = 'floos'",
        "crc32 = crc32 + 1",
        "value = CAST(x'ff' AS TEXT)",
        "value = x'38'",
    ],
)
def test_a_damaged_value_is_absent_and_can_be_dropped(database, notes, damage):
    with database.transaction():
        database.write(f"UPDATE notes SET {damage} WHERE name = 'floor'")
    assert notes.all() == {"epoch": "abc"}
    assert notes.drop_damaged() == 1
    assert notes.drop_damaged() == 0
    assert database.value("SELECT count(*) FROM notes") == 1


def test_a_value_does_not_pass_under_another_name(database, notes):
    with database.transaction():
        database.write("UPDATE notes SET value = (SELECT value FROM notes WHERE name = 'floor')")
    assert notes.get("epoch") is None
