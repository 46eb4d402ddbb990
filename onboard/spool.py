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

from onboard.database import (
    DamagedError,
    Database,
    FullError,
    open_database,
    set_aside,
    set_aside_before,
)
from onboard.entry_table import ENTRIES_SCHEMA, EntryTable
from onboard.notes import NOTES_SCHEMA, Notes
from onboard.quarantine import QUARANTINE_SCHEMA, Quarantine
from onboard.salvage import last_record, salvage, with_gaps
from onboard.spool_entry import (
    Entry,
    Kind,
    Tail,
    begun,
    decode_tail,
    encode_tail,
    entries_of,
    fresh_rows,
    gap,
    refuse,
)
from protocol.errors import StoreError
from protocol.messages import Batch, Gap
from protocol.step_record import Rows

DEFAULT_QUOTA_BYTES = 1 << 30
_OVERHEAD_BYTES = 1 << 20
_FORGET_ENTRIES = 64
_SCHEMA = ENTRIES_SCHEMA + NOTES_SCHEMA + QUARANTINE_SCHEMA


def open_spool(
    path: Path,
    quota_bytes: int = DEFAULT_QUOTA_BYTES,
    new_epoch: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Spool:
    """Open or make the spool file; exactly one process may hold it.

    A damaged file is set aside under another name. A new one, of a new epoch, takes over what can
    be read of it, and gaps for the rest, so that the server learns of the loss.

    Args:
        path: the SQLite file; its log lies beside it.
        quota_bytes: of held batches; the file itself may grow to twice that.
        new_epoch: makes a name no other spool ever had (32 hex digits).

    Raises:
        StoreError: another process holds the file, or it can be neither read nor made.
    """
    emptied = path.exists() and path.stat().st_size == 0
    try:
        spool = _opened(path, quota_bytes, new_epoch)
    except DamagedError:
        set_aside(path)
        spool = _opened(path, quota_bytes, new_epoch)
    kept = set_aside_before(path)
    if spool.unused and kept:
        spool.adopt(salvage(kept[-1]), f"spool was damaged; it is kept as {kept[-1].name}")
    elif spool.unused and emptied:
        spool.adopt([], "spool was empty, but not new")
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
        quarantined: entries and notes found damaged, and entries refused by the server, since the
            spool was opened.
    """

    def __init__(self, database: Database, quota_bytes: int, new_epoch: Callable[[], str]) -> None:
        self._database = database
        self._quota_bytes = quota_bytes
        self._new_epoch = new_epoch
        self._entries = EntryTable(database)
        self._notes = Notes(database)
        self._quarantine = Quarantine(database)
        self._tail = Tail()
        self._held_bytes = 0
        self.epoch = ""
        self.newest = self.spooled = self.rejected = self.quarantined = 0
        self.first_held = 1
        self._forgotten = 0

    def load(self) -> None:
        """Read where the sequence stands; a new file gets its epoch.

        Raises:
            DamagedError: the file holds nonsense.
        """
        self.quarantined += self._notes.drop_damaged()
        if not self._notes.all() and self._entries.empty:
            self._begin()
        notes = self._notes.all()
        try:
            self.epoch = notes["epoch"]
            self.spooled, self.newest = int(notes["spooled"]), int(notes["newest"])
            self._forgotten = int(notes["acknowledged"])
            self.first_held = self._forgotten + 1
            self._tail = decode_tail(notes["tail"])
        except (KeyError, ValueError, msgspec.DecodeError) as error:
            raise DamagedError(f"spool's notes are unreadable: {error!r}") from error
        self._drop_strays()
        self._held_bytes = self._entries.size_bytes(self.first_held, self.newest)

    def close(self) -> None:
        """Release the file."""
        with suppress(StoreError):
            self._forget()
        self._database.close()

    @property
    def unused(self) -> bool:
        """Has this file never held anything?"""
        return self.newest == 0 and self.spooled == 0

    @property
    def refusing(self) -> bool:
        """Is there no room for new records?"""
        return bool(self._tail.owed)

    def append(self, rows: Rows, ended: int = 0) -> int:
        """Make rows durable, one batch per run of consecutive ``seq``, in one commit.

        Rows seen before are skipped. A jump of ``seq`` within a ring generation becomes a gap
        entry; before a new generation stands one of unknown extent, unless it is known where the
        one before ended. If the quota or the disk is exhausted the new rows are refused, counted,
        and declared as a gap once there is room; nothing spooled before is touched.

        Args:
            rows: (N,) step records in order, any number.
            ended: the number after the last record of the ring generation before; 0 if unknown.

        Returns:
            Records now durable because of this call.

        Raises:
            StoreError: the file failed for another reason than lack of room.
        """
        fresh = fresh_rows(rows, self._tail)
        if len(fresh) == 0:
            return 0
        entries = entries_of(fresh, begun(fresh, self._tail), ended)
        size = sum(len(entry.data) for entry in entries)
        if self._held_bytes + size > self._quota_bytes:
            return self._reject(fresh, ended, "spool quota exhausted")
        last, spooled = int(fresh["seq"][-1]), self.spooled + len(fresh)
        try:
            self._commit(entries, last, spooled)
        except FullError:
            self._database.empty_log()
            try:
                self._commit(entries, last, spooled)
            except FullError:
                return self._reject(fresh, ended, "disk full")
        return len(fresh)

    def unacknowledged(self, limit: int, after: int = 0) -> list[Batch | Gap]:
        """The next entries to send, checked: at most ``limit`` held ones numbered above ``after``.

        The numbers have no holes: in place of an entry that is damaged or missing stands a gap, and
        what is left of it is quarantined.
        """
        first = max(after + 1, self.first_held)
        last = min(first + limit - 1, self.newest)
        sound = self._entries.sound(first, last)
        return [
            sound[seq].message(self.epoch, seq)
            if seq in sound
            else self.quarantine(seq, "entry is damaged or missing in the spool")
            for seq in range(first, last + 1)
        ]

    def acknowledge(self, last: int) -> None:
        """The server has committed everything up to ``last``: nobody needs it any more.

        The file forgets it with the next commit, or when much has gathered: a crash before that
        costs the question how far the server is, which is asked at every greeting.
        """
        last = min(last, self.newest)
        if last < self.first_held:
            return
        self._held_bytes -= self._entries.size_bytes(self.first_held, last)
        self.first_held = last + 1
        if last - self._forgotten >= _FORGET_ENTRIES:
            self._forget()

    def quarantine(self, seq: int, reason: str) -> Batch | Gap:
        """A gap takes the place of entry ``seq``, which is kept aside if there is room."""
        entry = gap(*self._entries.numbers(seq), reason)
        self._quarantine.copy(self.epoch, seq, reason)
        with self._database.transaction():
            self._entries.write(seq, [entry])
        self.quarantined += 1
        self._held_bytes = self._entries.size_bytes(self.first_held, self.newest)
        return entry.message(self.epoch, seq)

    def differs(self, seq: int, crc32: int) -> bool:
        """Is the entry held as ``seq`` another one than that with this checksum?

        Then the server has it from a time this file does not remember. What is not held, or is
        damaged, does not differ.
        """
        entry = self._entries.sound(max(seq, self.first_held), seq).get(seq)
        return entry is not None and entry.crc32 != crc32

    def adopt(self, entries: list[Entry], reason: str) -> None:
        """Take over what is left of a former file, and tell the server, in sequence, of the rest.

        Args:
            entries: sound ones, in order.
            reason: of the gaps.
        """
        records = sum(entry.records for entry in entries if entry.kind is Kind.BATCH)
        self._commit(with_gaps(entries, reason), last_record(entries), self.spooled + records)
        self.quarantined += 1

    def begin_epoch(self) -> None:
        """Start a new sequence with what is held: the server knows more than this file remembers.

        So it is after the file was restored from an older copy. Records the server has already
        arrive again under the new epoch, where its account shows them; none is lost.
        """
        forgotten = self.first_held - 1
        with self._database.transaction():
            self._delete_acknowledged()
            self._entries.renumber(forgotten)
            self._notes.put("newest", self.newest - forgotten)
            self._notes.put("acknowledged", 0)
            self._notes.put("epoch", self._new_epoch())
        self.load()

    def fact(self, name: str) -> str | None:
        """The durable value kept under ``name``, or None."""
        return self._notes.get(name)

    def remember(self, name: str, value: str) -> None:
        """Keep a small durable value beside the entries: version floor, refused versions…"""
        with self._database.transaction():
            self._notes.put(name, value)

    def _begin(self) -> None:
        with self._database.transaction():
            self._notes.put("epoch", self._new_epoch())
            self._notes.put("tail", encode_tail(Tail()))
            for name in ("newest", "acknowledged", "spooled"):
                self._notes.put(name, 0)

    def _commit(self, entries: list[Entry], last_record: int, spooled: int) -> None:
        with self._database.transaction():
            self._delete_acknowledged()
            self._entries.write(self.newest + 1, entries)
            self._notes.put("newest", self.newest + len(entries))
            self._notes.put("tail", encode_tail(Tail(last_record)))
            self._notes.put("spooled", spooled)
        self._forgotten = self.first_held - 1
        self.newest += len(entries)
        self.spooled = spooled
        self._held_bytes += sum(len(entry.data) for entry in entries)
        self._tail = Tail(last_record)

    def _reject(self, rows: Rows, ended: int, reason: str) -> int:
        """Owe the server a gap; a full disk may not take even this note, so memory has it too."""
        self._tail = refuse(rows, begun(rows, self._tail), reason, ended)
        self.rejected += len(rows)
        with suppress(FullError):
            self.remember("tail", encode_tail(self._tail))
        return 0

    def _forget(self) -> None:
        if self.first_held - 1 > self._forgotten:
            with self._database.transaction():
                self._delete_acknowledged()
            self._forgotten = self.first_held - 1

    def _delete_acknowledged(self) -> None:
        if self.first_held - 1 > self._forgotten:
            self._entries.keep_only(self.first_held, self.newest)
            self._notes.put("acknowledged", self.first_held - 1)

    def _drop_strays(self) -> None:
        """Entries whose number was never given out, or is acknowledged: a flipped bit made them."""
        strays = self._entries.strays(self.first_held, self.newest)
        if strays:
            with self._database.transaction():
                self._entries.keep_only(self.first_held, self.newest)
        self.quarantined += strays
