"""What the robots did: every accepted batch, verified and durable, in one SQLite catalogue.

A batch is accepted once, in the order of its number, per robot and spool epoch. Data stays as it
came (zstd rows), so the archive can be made again from here. Source: FLEET.md § 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from offboard.database import Database
from offboard.episode_tables import open_tables
from offboard.intake import Entry, unpack
from offboard.losses import Forgotten, Loss, forgotten_gap, forgotten_records, losses_of
from offboard.record_account import Account, account_of
from offboard.store_check import Findings, examine, gap_crc32, is_sound, place_crc32
from protocol.errors import StoreError
from protocol.messages import BATCH_MAX_RECORDS, Batch, Gap
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows, decode_rows, dtype_of

_PAGE_ENTRIES = 256


class Delivery(NamedTuple):
    """Entries of one robot's epoch, in order."""

    robot: str
    epoch: str
    entries: Sequence[Entry]


def open_episode_store(path: Path, spec: RobotSpec) -> EpisodeStore:
    """Open or make the catalogue for robots built to ``spec``.

    Raises:
        StoreError: it cannot be opened, or was made for another robot file or by another version.
    """
    return EpisodeStore(open_tables(path, spec.digest()), dtype_of(spec))


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
        """The file itself, for those who list, prune or file it (catalogue, archive index)."""
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
