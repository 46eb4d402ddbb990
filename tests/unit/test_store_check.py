"""A catalogue on a disk that lies: mended where it can be, and otherwise the loss is on record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from made_records import SPEC, make_records

from offboard.archive_index import ArchiveIndex
from offboard.episode_store import Delivery, EpisodeStore, open_episode_store
from offboard.store_check import Findings
from onboard.spool_entry import Tail, entries_of
from protocol.errors import StoreError
from protocol.messages import Gap

EPOCH = "a" * 32
LOST = Gap(epoch=EPOCH, seq=4, first_record=0, count=0, reason="disk full")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three batches of ten records and a gap."""
    path = tmp_path / "episodes.sqlite"
    with opened(path) as store:
        batches = [
            entries_of(make_records(10 * n, 10), Tail())[0].message(EPOCH, n + 1) for n in range(3)
        ]
        store.accept([Delivery("r", EPOCH, [*batches, LOST])])
    return path


@contextmanager
def opened(path: Path) -> Iterator[EpisodeStore]:
    with closing(open_episode_store(path, SPEC)) as store:
        yield store


def edited(path: Path, sql: str) -> None:
    """Change the closed file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


def records(store: EpisodeStore) -> np.ndarray:
    return np.concatenate([np.empty(0, store.dtype), *store.rows("r")])


def test_a_sound_catalogue_is_left_alone(path):
    with opened(path) as store:
        assert store.examine() == Findings()
        assert len(records(store)) == 30


@pytest.mark.parametrize(
    "damage",
    [
        "data = CAST('x' || substr(data, 2) AS BLOB)",
        "data = 'text'",
        "first_record = first_record + 1",
        "first_record = -1",
        "records = 9",
        "crc32 = crc32 + 1",
    ],
)
def test_a_damaged_batch_is_passed_over_and_becomes_a_gap(path, damage):
    edited(path, f"UPDATE batches SET {damage} WHERE seq = 2")
    with opened(path) as store:
        read = records(store)
        assert read.tobytes() == records_without_the_second_batch().tobytes()
        assert store.damaged == 1
        assert store.examine() == Findings(batches=1)
        assert [(gap.seq, gap.count) for gap in store.gaps("r")] == [(2, 0), (4, 0)]
        assert store.account("r").holes == 10
        assert store.last("r", EPOCH) == 4
        assert store.examine() == Findings()


def records_without_the_second_batch() -> np.ndarray:
    return np.concatenate([make_records(0, 10), make_records(20, 10)])


@pytest.mark.parametrize("damage", ["first_record = 5", "records = 5", "reason = 'none'"])
def test_a_damaged_gap_stays_a_gap_of_unknown_extent(path, damage):
    edited(path, f"UPDATE gaps SET {damage}")
    with opened(path) as store:
        assert store.examine() == Findings(gaps=1)
        (gap,) = store.gaps("r")
        assert (gap.seq, gap.first_record, gap.count) == (4, 0, 0)


@pytest.mark.parametrize("damage", ["last = 9", "last = 0", "epoch = 'x'", "crc32 = 0"])
def test_where_a_stream_stands_is_not_believed_but_found_again(path, damage):
    edited(path, f"UPDATE streams SET {damage}")
    with opened(path) as store:
        if "epoch" not in damage:
            with pytest.raises(StoreError, match="damaged"):
                store.last("r", EPOCH)
        assert store.examine().streams == 1
        assert store.last("r", EPOCH) == 4


def test_an_index_that_disagrees_is_made_again(path):
    with opened(path) as store:
        page = store._database.value(
            "SELECT rootpage FROM sqlite_master WHERE name = 'batches_in_order'"
        )
        size = store._database.value("PRAGMA page_size")
    bytes_ = bytearray(path.read_bytes())
    at = bytes_.index(b"r", (page - 1) * size + 200)  # the robot's name in an entry of the index
    bytes_[at] ^= 1
    path.write_bytes(bytes(bytes_))
    with opened(path) as store:
        assert len(records(store)) < 30
        assert store.examine() == Findings(mended=True)
        assert len(records(store)) == 30


@pytest.mark.parametrize("damage", [("robot", 4, "s"), ("seq", 2, 9)])
def test_an_entry_out_of_place_is_put_back_where_the_index_remembers_it(path, damage):
    """Remade from the table, the index would believe the flipped bit."""
    column, seq, wrong = damage
    table = "gaps" if seq == 4 else "batches"
    edited_in_the_table_only(path, table, column, seq, wrong)
    with opened(path) as store:
        assert store.examine() == Findings(mended=True)
        assert len(records(store)) == 30
        assert store.gaps("r") == [LOST]
        assert store.examine() == Findings()


def test_an_entry_whose_place_nobody_knows_leaves_a_hole_that_is_declared(path):
    edited(path, "UPDATE batches SET seq = 0, data = x'00' WHERE seq = 2")
    with opened(path) as store:
        assert store.examine() == Findings(batches=1)
        assert [gap.seq for gap in store.gaps("r")] == [0, 2, 4]
        assert store.account("r").holes == 10


def test_the_newest_entry_is_missed_too(path):
    """Where its stream stands says that it was there."""
    edited(path, "DELETE FROM gaps")
    edited(path, "UPDATE batches SET crc32 = 0 WHERE seq = 1")
    with opened(path) as store:
        store.examine()
        assert [gap.seq for gap in store.gaps("r")] == [1, 4]


def test_what_retention_dropped_is_no_hole(path):
    """Its records lie in an archived episode."""
    with opened(path) as store:
        ArchiveIndex(store.database).catalogue("r", make_records(0, 20), "r/e.mcap", "0" * 64)
    edited(path, "DELETE FROM batches WHERE seq = 2")
    edited(path, "UPDATE batches SET seq = 0, data = x'00' WHERE seq = 3")
    with opened(path) as store:
        store.examine()
        assert [gap.seq for gap in store.gaps("r")] == [0, 4]


def edited_in_the_table_only(path: Path, table: str, column: str, seq: int, wrong: object) -> None:
    """SQLite is told, for a moment, that the table has no index."""
    name = f"sqlite_autoindex_{table}_1"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        (kept,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()
        bare = kept.replace(", UNIQUE (robot, epoch, seq)", "").replace(
            ",\n    PRIMARY KEY (robot, epoch, seq)", ""
        )
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (bare, table))
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", (name,))
    edited(path, f"UPDATE {table} SET {column} = {wrong!r} WHERE seq = {seq}")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (kept, table))
        connection.execute(
            "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) "
            "VALUES ('index', ?, ?, ?, NULL)",
            (name, table, *root),
        )


def test_a_broken_structure_needs_the_backup(path):
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = bytes(len(damaged) - 4096)
    path.write_bytes(bytes(damaged))
    with pytest.raises(StoreError), opened(path) as store:
        store.examine()


def test_a_catalogue_of_an_older_version_is_refused(path):
    edited(path, "PRAGMA user_version = 1")
    with pytest.raises(StoreError, match="tables of layout 1, this version reads"), opened(path):
        pass


def damage_one(path: Path) -> None:
    edited(path, "UPDATE batches SET crc32 = crc32 + 1 WHERE seq = 2")


@pytest.mark.parametrize("first_held", [5_000, 1 << 62])
def test_what_a_forgotten_gap_stands_for_is_not_declared_again(path, first_held):
    with opened(path) as store:
        store.greet("r", EPOCH, first_held)
    damage_one(path)
    with opened(path) as store:
        store.examine()
        assert [gap.seq for gap in store.gaps("r")] == [2, 4, first_held - 1]


def test_many_numbers_that_are_missing_are_one_gap_found_once(path):
    """As where the record of the loss was damaged itself."""
    with opened(path) as store:
        store.greet("r", EPOCH, 1 << 40)
    edited(path, f"UPDATE gaps SET reason = 'batches 8' WHERE seq = {(1 << 40) - 1}")
    with opened(path) as store:
        assert store.examine() == Findings(gaps=1)
        gaps = store.gaps("r")
        assert [gap.seq for gap in gaps] == [4, (1 << 40) - 2, (1 << 40) - 1]
        assert gaps[1].reason == f"batches 5 to {(1 << 40) - 2} damaged in the server's store"
    damage_one(path)
    with opened(path) as store:
        store.examine()
        assert [gap.seq for gap in store.gaps("r")][2:] == [gap.seq for gap in gaps[1:]]


def test_a_gap_that_claims_numbers_after_its_own_hides_nothing(path):
    """A robot words its gaps as it likes."""
    edited(path, "DELETE FROM gaps")
    with opened(path) as store:
        claim = Gap(epoch=EPOCH, seq=5, first_record=0, count=0, reason="batches 1 to 99 are gone")
        store.accept([Delivery("r", EPOCH, [claim])])
    damage_one(path)
    with opened(path) as store:
        store.examine()
        assert [gap.seq for gap in store.gaps("r")] == [2, 4, 5]
