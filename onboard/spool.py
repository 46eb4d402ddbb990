"""The robot's durable outbox: step records as numbered, compressed batches in one SQLite file.

What :meth:`Spool.append` has returned from survives ``kill -9`` and power cuts; what the server
has acknowledged is deleted; everything between is held, or replaced by an explicit gap. The loss
window is what still lies in the ring. Source: FLEET.md § 3.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from onboard.database import DamagedError, Database, FullError, open_database, set_aside
from onboard.spool_entry import (
    Entry,
    Tail,
    decode_tail,
    encode_tail,
    entries_of,
    fresh_rows,
    gap,
    refuse,
    stored_entry,
)
from protocol.errors import StoreError
from protocol.messages import Batch, Gap
from protocol.step_record import Rows

DEFAULT_QUOTA_BYTES = 1 << 30
QUARANTINE_MAX_ENTRIES = 64
_OVERHEAD_BYTES = 1 << 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, first_record INTEGER NOT NULL,
    records INTEGER NOT NULL, data BLOB NOT NULL, crc32 INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS quarantine (
    number INTEGER PRIMARY KEY, epoch TEXT, seq, reason TEXT, first_record, records, data, crc32);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def open_spool(
    path: Path,
    quota_bytes: int = DEFAULT_QUOTA_BYTES,
    new_epoch: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Spool:
    """Open or make the spool file; exactly one process may hold it.

    A damaged file is set aside under another name and replaced by an empty one of a new epoch whose
    first entry is a gap, so that the server learns of the loss.

    Args:
        path: the SQLite file; its log lies beside it.
        quota_bytes: of held batches; the file itself may grow to twice that.
        new_epoch: makes a name no other spool ever had (32 hex digits).

    Raises:
        StoreError: another process holds the file, or it can be neither read nor made.
    """
    try:
        return _opened(path, quota_bytes, new_epoch)
    except DamagedError as error:
        kept = set_aside(path)
        spool = _opened(path, quota_bytes, new_epoch)
        spool.declare_gap(f"spool was damaged ({error}); kept as {kept.name}")
        return spool


def _opened(path: Path, quota_bytes: int, new_epoch: Callable[[], str]) -> Spool:
    database = open_database(path, _SCHEMA, 2 * quota_bytes + _OVERHEAD_BYTES)
    spool = Spool(database, quota_bytes, new_epoch)
    try:
        spool.load()
    except StoreError:
        database.close()
        raise
    return spool


class Spool:
    """Numbered entries (batches and gaps) of one epoch, from ``first_held`` to ``newest``.

    Every method may raise StoreError, and then nothing was written.

    Attributes:
        epoch: names the sequence; made with the file.
        newest: highest number given out, 0 before the first.
        first_held: lowest number not yet acknowledged; ``newest + 1`` if none is held.
        spooled: records ever written to this file.
        rejected: records refused for lack of room, since the spool was opened.
        quarantined: entries found damaged, or refused by the server, since the spool was opened.
    """

    def __init__(self, database: Database, quota_bytes: int, new_epoch: Callable[[], str]) -> None:
        self._database = database
        self._quota_bytes = quota_bytes
        self._new_epoch = new_epoch
        self._tail = Tail()
        self._held_bytes = 0
        self.epoch = ""
        self.newest = self.spooled = self.rejected = self.quarantined = 0
        self.first_held = 1

    def load(self) -> None:
        """Read where the sequence stands; a new file gets its epoch.

        Raises:
            DamagedError: the file holds nonsense.
        """
        with self._database.transaction():
            self._database.write(
                "INSERT OR IGNORE INTO facts VALUES ('epoch', ?)", self._new_epoch()
            )
        number = self._database.value
        try:
            self.epoch = self.fact("epoch") or ""
            self.spooled = int(self.fact("spooled") or 0)
            self.first_held = int(self.fact("acknowledged") or 0) + 1
            self._tail = decode_tail(self.fact("tail"))
        except (ValueError, msgspec.DecodeError) as error:
            raise DamagedError(f"spool's notes are unreadable: {error}") from error
        given_out = number("SELECT seq FROM sqlite_sequence WHERE name = 'entries'")
        self.newest = max(given_out or 0, number("SELECT max(seq) FROM entries") or 0)
        self._held_bytes = self._measured()

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    @property
    def refusing(self) -> bool:
        """Is there no room for new records?"""
        return bool(self._tail.owed)

    def append(self, rows: Rows) -> int:
        """Make rows durable, one batch per run of consecutive ``seq``, in one commit.

        Rows seen before are skipped. A jump of ``seq`` within a ring generation becomes a gap
        entry. If the quota or the disk is exhausted the new rows are refused, counted, and declared
        as a gap once there is room; nothing spooled before is touched.

        Args:
            rows: (N,) step records in order, any number.

        Returns:
            Records now durable because of this call.

        Raises:
            StoreError: the file failed for another reason than lack of room.
        """
        fresh = fresh_rows(rows, self._tail)
        if len(fresh) == 0:
            return 0
        entries = entries_of(fresh, self._tail)
        size = sum(len(entry.data) for entry in entries)
        if self._held_bytes + size > self._quota_bytes:
            return self._reject(fresh, "spool quota exhausted")
        try:
            self._commit(entries, int(fresh["seq"][-1]), self.spooled + len(fresh))
        except FullError:
            return self._reject(fresh, "disk full")
        return len(fresh)

    def unacknowledged(self, limit: int, after: int = 0) -> list[Batch | Gap]:
        """The next entries to send, checked: at most ``limit`` held ones numbered above ``after``.

        The numbers have no holes: in place of an entry that is damaged or missing stands a gap, and
        what is left of it is quarantined.
        """
        start = max(after + 1, self.first_held)
        stop = min(start + limit, self.newest + 1)
        found = {
            row[0]: stored_entry(*row[1:])
            for row in self._database.rows(
                "SELECT seq, kind, first_record, records, data, crc32 FROM entries "
                "WHERE seq >= ? AND seq < ?",
                start,
                stop,
            )
        }
        return [self._message(seq, found.get(seq)) for seq in range(start, stop)]

    def acknowledge(self, last: int) -> None:
        """The server has committed everything up to ``last``: delete it."""
        last = min(last, self.newest)
        if last < self.first_held:
            return
        freed = self._database.value("SELECT total(length(data)) FROM entries WHERE seq <= ?", last)
        with self._database.transaction():
            self._database.write("DELETE FROM entries WHERE seq <= ?", last)
            self._remember("acknowledged", last)
        self._held_bytes -= int(freed)
        self.first_held = last + 1

    def quarantine(self, seq: int, reason: str) -> Batch | Gap:
        """A gap takes the place of entry ``seq``, which is kept aside if there is room."""
        entry = gap(*self._numbers(seq), reason)
        with suppress(FullError):
            self._keep_aside(seq, reason)
        with self._database.transaction():
            self._database.write(
                "INSERT OR REPLACE INTO entries (seq, kind, first_record, records, data, crc32) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                seq,
                *entry,
                entry.crc32,
            )
        self.quarantined += 1
        self._held_bytes = self._measured()
        return entry.message(self.epoch, seq)

    def declare_gap(self, reason: str) -> None:
        """Tell the server, in sequence, that an unknown number of records is lost."""
        entries = [*self._tail.owed, gap(0, 0, reason)]
        self._commit(entries, self._tail.record, self.spooled)

    def begin_epoch(self) -> None:
        """Start a new sequence with what is held: the server knows more than this file remembers.

        So it is after the file was restored from an older copy. Records the server has already
        arrive again under the new epoch, where its account shows them; none is lost.
        """
        forgotten = self.first_held - 1
        with self._database.transaction():
            self._database.write("UPDATE entries SET seq = seq - ?", forgotten)
            self._database.write(
                "UPDATE sqlite_sequence SET seq = seq - ? WHERE name = 'entries'", forgotten
            )
            self._remember("acknowledged", 0)
            self._remember("epoch", self._new_epoch())
        self.load()

    def fact(self, name: str) -> str | None:
        """The durable value kept under ``name``, or None."""
        value = self._database.value("SELECT value FROM facts WHERE name = ?", name)
        return None if value is None else str(value)

    def remember(self, name: str, value: str) -> None:
        """Keep a small durable value beside the entries: version floor, refused versions…"""
        with self._database.transaction():
            self._remember(name, value)

    def _commit(self, entries: list[Entry], last_record: int, spooled: int) -> None:
        with self._database.transaction():
            self._database.write_many(
                "INSERT INTO entries (kind, first_record, records, data, crc32) "
                "VALUES (?, ?, ?, ?, ?)",
                [(*entry, entry.crc32) for entry in entries],
            )
            self._remember("tail", encode_tail(Tail(last_record)))
            self._remember("spooled", spooled)
        self.newest += len(entries)
        self.spooled = spooled
        self._held_bytes += sum(len(entry.data) for entry in entries)
        self._tail = Tail(last_record)

    def _reject(self, rows: Rows, reason: str) -> int:
        """Owe the server a gap; a full disk may not take even this note, so memory has it too."""
        self._tail = refuse(rows, self._tail, reason)
        self.rejected += len(rows)
        with suppress(FullError):
            self.remember("tail", encode_tail(self._tail))
        return 0

    def _measured(self) -> int:
        return int(self._database.value("SELECT total(length(data)) FROM entries"))

    def _keep_aside(self, seq: int, reason: str) -> None:
        with self._database.transaction():
            self._database.write(
                "INSERT INTO quarantine (epoch, seq, reason, first_record, records, data, crc32) "
                "SELECT ?, seq, ?, first_record, records, data, crc32 FROM entries WHERE seq = ?",
                self.epoch,
                reason,
                seq,
            )
            self._database.write(
                "DELETE FROM quarantine WHERE number <= (SELECT max(number) FROM quarantine) - ?",
                QUARANTINE_MAX_ENTRIES,
            )

    def _numbers(self, seq: int) -> tuple[int, int]:
        """First record and number of records of an entry as far as they can be believed."""
        for numbers in self._database.rows(
            "SELECT first_record, records FROM entries WHERE seq = ?", seq
        ):
            if all(isinstance(number, int) and number >= 0 for number in numbers):
                return numbers[0], numbers[1]
        return 0, 0

    def _message(self, seq: int, entry: Entry | None) -> Batch | Gap:
        if entry is None:
            return self.quarantine(seq, "entry is damaged or missing in the spool")
        return entry.message(self.epoch, seq)

    def _remember(self, name: str, value: object) -> None:
        self._database.write("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, str(value))
