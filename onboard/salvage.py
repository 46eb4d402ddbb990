"""What can still be read of a spool that is damaged: its file is kept, its backlog sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

from onboard.entry_table import COLUMNS
from onboard.ring import GENERATION_SHIFT
from onboard.spool_entry import Entry, Kind, gap, stored_entry


def salvage(path: Path) -> list[Entry]:
    """Sound entries of the file at ``path``, in their order; none if it is no spool at all.

    It is read from both ends, each until the damage.
    """
    found: dict[int, Entry] = {}
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.Error):
            for seq, entry in _readable(path, order):
                found[seq] = entry
    return [entry for _, entry in sorted(found.items())]


def with_gaps(entries: list[Entry], reason: str) -> list[Entry]:
    """``entries`` and, before, between and after them, what is missing; of unknown extent outside.

    Records of one ring generation follow one another without holes, so that a hole between two
    entries of one is known to the number. Between two generations lay a gap that said so; where it
    is lost, others may be lost with it.
    """
    unknown = gap(0, 0, reason)
    if not entries:
        return [unknown]
    whole = [unknown, entries[0]]
    for before, after in pairwise(entries):
        whole += [*_between(before, after, reason), after]
    return [*whole, unknown]


def last_record(entries: Iterable[Entry]) -> int:
    """Number of the last record of the newest batch, -1 if there is none."""
    ends = [e.first_record + e.records - 1 for e in entries if e.kind is Kind.BATCH]
    return max(ends, default=-1)


def _readable(path: Path, order: str) -> Iterator[tuple[int, Entry]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        for seq, *stored in connection.execute(
            f"SELECT seq, {COLUMNS} FROM entries ORDER BY seq {order}"  # noqa: S608
        ):
            entry = stored_entry(*stored)
            if entry is not None and seq > 0:
                yield seq, entry


def _between(before: Entry, after: Entry, reason: str) -> list[Entry]:
    """The gap between two entries, if there is one that neither of them declares."""
    if not (before.records and after.records):
        return []
    if before.first_record >> GENERATION_SHIFT != after.first_record >> GENERATION_SHIFT:
        return [gap(0, 0, reason)]
    end = before.first_record + before.records
    missing = after.first_record - end
    return [gap(end, missing, reason)] if missing > 0 else []
