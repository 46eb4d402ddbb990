"""What the robots did: every accepted batch, verified and durable, in one SQLite catalogue.

A batch is accepted once, in the order of its number, per robot and spool epoch. Data stays as it
came (zstd rows), so the archive can be made again from here. Source: FLEET.md § 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from offboard.database import Database, open_database
from offboard.intake import Entry, unpack
from offboard.losses import (
    GENERATION_SHIFT,
    Forgotten,
    Loss,
    forgotten_gap,
    forgotten_records,
    losses_of,
)
from offboard.store_check import Findings, examine, gap_crc32, is_sound, place_crc32
from protocol.errors import StoreError
from protocol.messages import BATCH_MAX_RECORDS, Batch, Gap
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows, decode_rows, dtype_of

_PAGE_ENTRIES = 256
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


class Delivery(NamedTuple):
    """Entries of one robot's epoch, in order."""

    robot: str
    epoch: str
    entries: Sequence[Entry]


class Account(NamedTuple):
    """What the store holds of a robot, by the records' own numbers.

    Attributes:
        committed: distinct records.
        first_seq: lowest record number, -1 if there is none.
        last_seq: highest record number, -1 if there is none.
        holes: records missing between the first and last of a ring generation, over generations.
        duplicates: records held more than once.
        declared: records that gaps on record say are lost, those ``forgotten`` among them.
        forgotten: records lost because this store is an older copy of one that had them.
    """

    committed: int = 0
    first_seq: int = -1
    last_seq: int = -1
    holes: int = 0
    duplicates: int = 0
    declared: int = 0
    forgotten: int = 0


def open_episode_store(path: Path, spec: RobotSpec) -> EpisodeStore:
    """Open or make the catalogue for robots built to ``spec``.

    Raises:
        StoreError: it cannot be opened, or was made for another robot file or by another version.
    """
    database = open_database(path, _SCHEMA)
    try:
        made_for = database.value("SELECT digest FROM robot_file")
        if made_for is None:
            with database.transaction():
                database.write("INSERT INTO robot_file VALUES (?)", spec.digest())
                database.write(f"PRAGMA user_version = {LAYOUT}")
        check_layout(database, path)
        if made_for not in (None, spec.digest()):
            raise StoreError(
                f"{path} was made for another robot file; use a new run directory, "
                f"or the robot file of digest {made_for:.12}"
            )
    except StoreError:
        database.close()
        raise
    return EpisodeStore(database, dtype_of(spec))


def check_layout(database: Database, path: Path) -> None:
    """Raises StoreError if the tables in ``path`` are laid out as another version has them."""
    found = database.value("PRAGMA user_version")
    if found != LAYOUT:
        raise StoreError(
            f"{path} has tables of layout {found}, this version reads layout {LAYOUT}; open it "
            "with the version that wrote it (a run notes its commit), or start a new run directory"
        )


class EpisodeStore:
    """Thread-safe: ingest writes in one thread while others read. Methods may raise StoreError.

    Attributes:
        dtype: row layout of the robots.
        damaged: batches that :meth:`rows` had to pass over; :meth:`examine` puts them on record.
    """

    def __init__(self, database: Database, dtype: np.dtype[np.void]) -> None:
        self._database = database
        self.dtype = dtype
        self.damaged = 0
        self._forgotten = Forgotten(database)

    @property
    def database(self) -> Database:
        """The file itself, for those who list and prune it (:mod:`offboard.data.catalogue`)."""
        return self._database

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def last(self, robot: str, epoch: str) -> int:
        """Highest number committed for a stream, 0 for a new one.

        Raises:
            StoreError: the number is damaged; :meth:`examine` restores it.
        """
        for last, crc32 in self._database.rows(
            "SELECT last, crc32 FROM streams WHERE robot = ? AND epoch = ?", robot, epoch
        ):
            if crc32 != place_crc32(robot, epoch, last):
                raise StoreError(f"where the stream of {robot} stands is damaged; verify the store")
            return int(last)
        return 0

    def streams(self, robot: str) -> int:
        """How many epochs of this robot have entries."""
        return int(self._database.value("SELECT count(*) FROM streams WHERE robot = ?", robot))

    def crc32_of(self, robot: str, epoch: str, seq: int) -> int | None:
        """Checksum of the entry committed as ``seq``, None if there is no such entry (any more)."""
        for table in ("batches", "gaps"):
            crc32 = self._database.value(
                f"SELECT crc32 FROM {table} WHERE robot = ? AND epoch = ? AND seq = ?",  # noqa: S608
                robot,
                epoch,
                seq,
            )
            if crc32 is not None:
                return int(crc32)
        return None

    def examine(self) -> Findings:
        """Read everything once; repair what can be, put on record as lost what cannot.

        Raises:
            StoreError: the file is damaged beyond that; restore it from a backup.
        """
        self._forgotten.reread()
        return examine(self._database)

    def greet(self, robot: str, epoch: str, first_held: int) -> int:
        """A robot (re)connects and can resend from ``first_held``; returns the last committed.

        What lies between was committed by a store this one is an older copy of: it is put on
        record as a gap, whose records are counted with the next entry, and the stream goes on.
        """
        last = self.last(robot, epoch)
        if first_held <= last + 1:
            return last
        with self._database.transaction():
            self._forgotten.reread()
            self._write(robot, epoch, [forgotten_gap(epoch, last, first_held)])
        return first_held - 1

    def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Commit entries of any number of streams in one transaction, each once and in order.

        Raises:
            StoreError: an entry is not the next of its stream, or the file failed; nothing of the
                call was committed.
        """
        try:
            self._accept(deliveries)
        except StoreError:
            self._forgotten.reread()
            raise

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        with self._database.transaction():
            for delivery in deliveries:
                expected = self.last(delivery.robot, delivery.epoch) + 1
                numbers = [entry.seq for entry in delivery.entries]
                if numbers != [*range(expected, expected + len(numbers))]:
                    raise StoreError(f"{delivery.robot}: batch {expected} is next, got {numbers}")
                self._forgotten.count(delivery.robot, delivery.entries)
                self._write(*delivery)

    def rows(self, robot: str, after_seq: int = -1) -> Iterator[Rows]:
        """Records above ``after_seq`` in their own order, each once, a batch at a time.

        A batch that is not what was written is passed over, and counted in ``damaged``.
        """
        position = (after_seq - BATCH_MAX_RECORDS, -1)
        while page := self._page(robot, after_seq, position):
            position = _beyond(position, page[-1][1], page[-1][0])
            for _, first_record, records, data, crc32 in page:
                if not is_sound(first_record, records, data, crc32):
                    self.damaged += 1
                    continue
                rows = self._decoded(data, records)
                rows = rows[rows["seq"].astype(np.int64) > after_seq]
                if len(rows):
                    after_seq = int(rows["seq"][-1])
                    yield rows

    def robots(self) -> list[str]:
        """Names of all robots that ever delivered."""
        return [row[0] for row in self._database.rows("SELECT DISTINCT robot FROM streams")]

    def account(self, robot: str) -> Account:
        """Committed, lost and doubled records of a robot."""
        spans = self._database.rows(
            "SELECT first_record, records FROM batches WHERE robot = ? ORDER BY first_record, id",
            robot,
        )
        declared = self._database.value("SELECT total(records) FROM gaps WHERE robot = ?", robot)
        return account_of(spans)._replace(
            declared=int(declared), forgotten=forgotten_records(self._database, robot)
        )

    def gaps(self, robot: str) -> list[Gap]:
        """Losses that were declared, in the order of their streams."""
        rows = self._database.rows(
            "SELECT epoch, seq, first_record, records, reason FROM gaps WHERE robot = ? "
            "ORDER BY epoch, seq",
            robot,
        )
        return [
            Gap(epoch=epoch, seq=seq, first_record=first, count=records, reason=reason)
            for epoch, seq, first, records, reason in rows
        ]

    def losses(self, robot: str) -> list[Loss]:
        """How many records of a robot are lost, and to what, the most first."""
        return losses_of(self.gaps(robot))

    def archived_through(self, robot: str) -> int:
        """Number of the last record that lies in an archived episode, -1 if there is none."""
        last = self._database.value("SELECT max(last_record) FROM episodes WHERE robot = ?", robot)
        return -1 if last is None else int(last)

    def is_archived(self, robot: str, generation: int, episode: int) -> bool:
        """Whether the catalogue knows a file of this episode, even one that was deleted since."""
        known = self._database.value(
            "SELECT 1 FROM episodes WHERE robot = ? AND generation = ? AND episode = ?",
            robot,
            generation,
            episode,
        )
        return known is not None

    def archived_paths(self, robot: str) -> set[str]:
        """Files of the archive that the catalogue knows."""
        return {
            row[0]
            for row in self._database.rows("SELECT path FROM episodes WHERE robot = ?", robot)
        }

    def extend(self, robot: str, rows: Rows) -> None:
        """Note that ``rows``, which follow those of an archived episode, are on file as well."""
        with self._database.transaction():
            self._database.write(
                "UPDATE episodes SET last_record = max(last_record, ?) "
                "WHERE robot = ? AND generation = ? AND episode = ?",
                int(rows["seq"][-1]),
                robot,
                int(rows["seq"][0]) >> GENERATION_SHIFT,
                int(rows["episode"][0]),
            )

    def catalogue(self, robot: str, rows: Rows, path: str, sha256: str) -> None:
        """Note that an episode's rows lie in the archive file ``path``, whose digest this is."""
        with self._database.transaction():
            self._database.write(
                "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                robot,
                int(rows["seq"][0]) >> GENERATION_SHIFT,
                int(rows["episode"][0]),
                len(rows),
                int(rows["seq"][-1]),
                int(rows["end"][-1]),
                path,
                sha256,
            )

    def _write(self, robot: str, epoch: str, entries: Sequence[Entry]) -> None:
        places = [(entry, place_crc32(robot, epoch, entry.seq)) for entry in entries]
        self._database.write_many(
            "INSERT INTO batches (robot, epoch, seq, first_record, records, data, crc32, place) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (robot, epoch, e.seq, e.first_record, e.count, e.data, e.crc32, place)
                for e, place in places
                if isinstance(e, Batch)
            ],
        )
        self._database.write_many(
            "INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (robot, epoch, e.seq, e.first_record, e.count, e.reason, gap_crc32(e), place)
                for e, place in places
                if isinstance(e, Gap)
            ],
        )
        if entries:
            last = entries[-1].seq
            self._database.write(
                "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)",
                robot,
                epoch,
                last,
                place_crc32(robot, epoch, last),
            )

    def _page(
        self, robot: str, after_seq: int, position: tuple[int, int]
    ) -> list[tuple[int, int, int, bytes, int | None]]:
        """The next batches in record order that hold something above ``after_seq``."""
        return self._database.rows(
            "SELECT id, first_record, records, data, crc32 FROM batches WHERE robot = ? "
            "AND first_record + records - 1 > ? AND (first_record, id) > (?, ?) "
            "ORDER BY first_record, id LIMIT ?",
            robot,
            after_seq,
            *position,
            _PAGE_ENTRIES,
        )

    def _decoded(self, data: bytes, records: int) -> Rows:
        return decode_rows(unpack(data, records * self.dtype.itemsize), self.dtype, records)


def _beyond(position: tuple[int, int], first_record: object, number: int) -> tuple[int, int]:
    """The next position; a damaged index may lead in circles. Raises StoreError."""
    if not isinstance(first_record, int) or (first_record, number) <= position:
        raise StoreError("batches are out of order: the catalogue is damaged; verify it")
    return first_record, number


def account_of(spans: Sequence[tuple[int, int]]) -> Account:
    """Account of batches given as (first record, records), sorted."""
    committed = duplicates = holes = 0
    previous = -1
    for first, records in spans:
        last = first + records - 1
        if previous >= 0 and first >> GENERATION_SHIFT == previous >> GENERATION_SHIFT:
            holes += max(0, first - previous - 1)
        new = max(0, last - max(previous, first - 1))
        committed += new
        duplicates += records - new
        previous = max(previous, last)
    first_seq = spans[0][0] if spans else -1
    return Account(committed, first_seq, previous, holes, duplicates)
