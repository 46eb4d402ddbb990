"""Whether the catalogue is what was written, and what to do where it is not.

SQLite's own check sees structure, and that an index disagrees with its table; which of the two is
right, the checksums beside the values tell. A damaged batch is put on record as a gap, so that its
loss is counted. Source: FLEET.md § 3.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from offboard.database import Database
from protocol.errors import StoreError
from protocol.messages import Gap, batch_crc32

_PAGE_ROWS = 256
_DAMAGED = "damaged in the server's store"
_RANGE = re.compile(r"batches (\d+) to (\d+) ")
"""How the reason of a gap begins that stands for all numbers from one to its own."""
_RESTORE = "the catalogue of episodes is damaged; restore it from a backup"


class Findings(NamedTuple):
    """What :func:`examine` found and put in order.

    Attributes:
        mended: indexes were made again, or entries put back in the place an index remembered.
        batches: batches that were damaged; a gap stands in the place of each.
        gaps: records of gaps that were damaged; what they said is unknown now.
        streams: streams whose position was damaged, and was found again.
    """

    mended: bool = False
    batches: int = 0
    gaps: int = 0
    streams: int = 0


class _Place(NamedTuple):
    """Where an entry belongs."""

    robot: Any
    epoch: Any
    seq: Any


class _Table(NamedTuple):
    """Entries of one kind, their content, and how to tell whether it is sound."""

    name: str
    content: str
    sound: Callable[[Any, Any, Any, Any], bool]


class _Doubtful(NamedTuple):
    """An entry that is not what was written; ``place`` is None if nothing knows where it was."""

    rowid: int
    place: _Place | None
    sound: bool


def place_crc32(robot: object, epoch: object, number: object) -> int:
    """Checksum of an entry's place, and of where a stream stands."""
    return zlib.crc32(f"{robot} {epoch} {number}".encode())


def gap_crc32(gap: Gap) -> int:
    """Checksum of a gap, the same one as the robot's."""
    return batch_crc32(gap.first_record, gap.count, gap.reason.encode())


def is_sound(first_record: Any, records: Any, data: Any, crc32: Any) -> bool:
    """Is this the batch that was written? One without a checksum is believed."""
    if not isinstance(data, bytes) or not _countable(first_record, records):
        return False
    return crc32 is None or batch_crc32(first_record, records, data) == crc32


def examine(database: Database) -> Findings:
    """Read everything once; repair what can be, declare what cannot.

    Raises:
        StoreError: the file is damaged beyond that; restore it from a backup.
    """
    batches = [*_doubtful(database, _BATCHES)]
    gaps = [*_doubtful(database, _GAPS)]
    mended = _mend_indexes(database)
    with database.transaction():
        for entry in batches:
            _settle(database, _BATCHES, entry)
        for entry in gaps:
            _settle(database, _GAPS, entry)
        streams = _find_streams(database)
        if mended or batches or gaps:
            _declare_holes(database)
    misplaced = any(entry.sound for entry in (*batches, *gaps))
    return Findings(mended or misplaced, _lost(batches), _lost(gaps), streams)


def _lost(entries: list[_Doubtful]) -> int:
    return sum(not entry.sound for entry in entries)


def _mend_indexes(database: Database) -> bool:
    """An index can be made again from its table, unless that holds something twice."""
    if _intact(database):
        return False
    with suppress(StoreError), database.transaction():
        database.write("REINDEX")
    if not _intact(database):
        raise StoreError(f"indexes cannot be made again: {_RESTORE}")
    return True


def _intact(database: Database) -> bool:
    return [row[0] for row in database.rows("PRAGMA integrity_check(1)")] == ["ok"]


def _doubtful(database: Database, table: _Table) -> Iterator[_Doubtful]:
    """Entries whose place or content does not agree with its checksum."""
    for rowid, *where, crc32_of_place, first, records, content, crc32 in _every(database, table):
        place = _Place(*where)
        sound = table.sound(first, records, content, crc32)
        placed = place_crc32(*place) == crc32_of_place
        if not placed:
            yield _Doubtful(rowid, _indexed(database, table, rowid, crc32_of_place, place), sound)
        elif not sound:
            yield _Doubtful(rowid, place, sound)


def _every(database: Database, table: _Table) -> Iterator[tuple[Any, ...]]:
    """All rows of the table itself, in their order, a page at a time."""
    rowid = -1 << 63
    while page := database.rows(
        "SELECT rowid, robot, epoch, seq, place, first_record, records, "  # noqa: S608
        f"{table.content}, crc32 FROM {table.name} NOT INDEXED WHERE rowid > ? "
        "ORDER BY rowid LIMIT ?",
        rowid,
        _PAGE_ROWS,
    ):
        if page[-1][0] <= rowid:
            raise StoreError(f"{table.name} are out of order: {_RESTORE}")
        yield from page
        rowid = page[-1][0]


def _indexed(
    database: Database, table: _Table, rowid: int, crc32: Any, place: _Place
) -> _Place | None:
    """The place of a row as the table's unique index has it, if that can be believed."""
    for entry in database.rows(
        f"SELECT robot, epoch, seq FROM {table.name} "  # noqa: S608
        f"INDEXED BY sqlite_autoindex_{table.name}_1 WHERE robot > '' AND +rowid = ?",
        rowid,
    ):
        found = _Place(*entry)
        if found == place or place_crc32(*found) == crc32:
            return found
    return None


def _true_gap(first_record: Any, records: Any, reason: Any, crc32: Any) -> bool:
    if not isinstance(reason, str) or not _countable(first_record, records):
        return False
    return bool(batch_crc32(first_record, records, reason.encode()) == crc32)


def _countable(*numbers: Any) -> bool:
    return all(isinstance(number, int) and 0 <= number < 1 << 63 for number in numbers)


_BATCHES = _Table("batches", "data", is_sound)
_GAPS = _Table("gaps", "reason", _true_gap)


def _settle(database: Database, table: _Table, entry: _Doubtful) -> None:
    """Back to its place if its content is sound; else a gap goes there."""
    if entry.sound and entry.place is not None:
        database.write(
            f"UPDATE {table.name} SET robot = ?, epoch = ?, seq = ?, place = ? "  # noqa: S608
            "WHERE rowid = ?",
            *entry.place,
            place_crc32(*entry.place),
            entry.rowid,
        )
        return
    database.write(f"DELETE FROM {table.name} WHERE rowid = ?", entry.rowid)  # noqa: S608
    if entry.place is not None:
        _declare(database, entry.place)


def _declare(database: Database, place: _Place, first: Any = None) -> None:
    """A gap of unknown extent goes to ``place``, for all numbers from ``first`` to its own."""
    several = first is not None and first < place.seq
    reason = f"batches {first} to {place.seq} {_DAMAGED}" if several else _DAMAGED
    database.write(
        "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, 0, 0, ?, ?, ?)",
        *place,
        reason,
        batch_crc32(0, 0, reason.encode()),
        place_crc32(*place),
    )


def _declare_holes(database: Database) -> None:
    """Where numbers are missing an entry was, unless retention dropped it: then it is archived.

    Numbers that a gap on record stands for, as one at a greeting does, are not missing; those that
    are get one gap for all that follow one another, however many they are.
    """
    before: tuple[Any, ...] = (None, None, 0, 0)
    for robot, epoch, seq, reason, end, archived in database.rows(_NUMBERED):
        first, last = before[2] + 1, _covered_from(seq, reason) - 1
        if (robot, epoch) == before[:2] and before[3] > archived and first <= last:
            _declare(database, _Place(robot, epoch, last), first)
        before = robot, epoch, seq, end


def _covered_from(seq: Any, reason: Any) -> Any:
    """The lowest number that an entry stands for: its own, but for a gap that says otherwise."""
    said = _RANGE.match(reason) if isinstance(reason, str) else None
    if said is None or int(said[2]) != seq or not isinstance(seq, int):
        return seq
    return min(int(said[1]), seq)


_NUMBERED = """
SELECT robot, epoch, seq, reason, max(ending) OVER (PARTITION BY robot, epoch ORDER BY seq),
    coalesce((SELECT max(last_record) + 1 FROM episodes WHERE episodes.robot = entry.robot), 0)
FROM (SELECT robot, epoch, seq, '' AS reason, first_record + records AS ending FROM batches
    UNION ALL SELECT robot, epoch, seq, reason, 0 FROM gaps
    UNION ALL SELECT robot, epoch, last + 1, '', 0 FROM streams) AS entry
ORDER BY robot, epoch, seq
"""
"""Every entry's place, and that of each stream's next; where records end so far, and archived."""


def _find_streams(database: Database) -> int:
    """The newest entry says where a stream stands; how many streams did not say so themselves."""
    noted = database.rows("SELECT robot, epoch, last, crc32 FROM streams")
    wrong = [row for row in noted if place_crc32(*row[:3]) != row[3]]
    database.write_many(
        "DELETE FROM streams WHERE robot = ? AND epoch = ?", [row[:2] for row in wrong]
    )
    known = {row[:2] for row in noted} - {row[:2] for row in wrong}
    newest = database.rows(
        "SELECT robot, epoch, max(seq) FROM (SELECT robot, epoch, seq FROM batches "
        "UNION ALL SELECT robot, epoch, seq FROM gaps) GROUP BY robot, epoch"
    )
    found = [(*row, place_crc32(*row)) for row in newest if row[:2] not in known]
    database.write_many("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)", found)
    return max(len(wrong), len(found))
