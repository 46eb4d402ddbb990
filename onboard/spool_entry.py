"""From a stream of step records to numbered entries for the server. Pure.

An entry is a batch of consecutive records or a gap that says which records will never come.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zstandard

from onboard.ring import GENERATION_SHIFT
from protocol.messages import BATCH_MAX_RECORDS, MAX_BYTES, Batch, Gap, batch_crc32
from protocol.step_record import Rows

_RAW_MAX_BYTES = MAX_BYTES - (128 << 10)  # incompressible rows still fit a message
_REASON_MAX_CHARS = 1024
_NOT_IN_RING = "not in the ring"


class Kind(IntEnum):
    """What an entry is."""

    BATCH = 0
    GAP = 1


class Entry(NamedTuple):
    """So many records from ``first_record`` on; ``data`` of a gap is its reason."""

    kind: Kind
    first_record: int
    records: int
    data: bytes

    @property
    def crc32(self) -> int:
        """Over the numbers and the data."""
        return batch_crc32(self.first_record, self.records, self.data)

    @property
    def label(self) -> int:
        """CRC-32 over all but the data: whose loss it is can be said when the data is damaged."""
        return label_of(self.kind, self.first_record, self.records)

    def message(self, epoch: str, seq: int) -> Batch | Gap:
        """As it goes over the wire."""
        if self.kind == Kind.GAP:
            return Gap(
                epoch=epoch,
                seq=seq,
                first_record=self.first_record,
                count=self.records,
                reason=self.data.decode(),
            )
        return Batch(
            epoch=epoch,
            seq=seq,
            first_record=self.first_record,
            count=self.records,
            crc32=self.crc32,
            data=self.data,
        )


class Tail(NamedTuple):
    """Where the stream stands: the newest record seen, and gaps not yet written."""

    record: int = -1
    owed: tuple[Entry, ...] = ()


def label_of(kind: int, first_record: int, records: int) -> int:
    """See :attr:`Entry.label`."""
    return batch_crc32(first_record, records, bytes([kind]))


def gap(first_record: int, records: int, reason: str) -> Entry:
    """A declared loss. ``records`` = 0: unknown."""
    return Entry(Kind.GAP, first_record, records, reason[:_REASON_MAX_CHARS].encode())


def fresh_rows(rows: Rows, tail: Tail) -> Rows:
    """Rows not seen before: the agent may die between committing rows and releasing them.

    Only a ring generation's own numbers are compared. Were the generation ever to restart lower,
    its rows would count as new: seen twice by the server's account rather than lost.
    """
    seq = rows["seq"].astype(np.int64)
    same = seq >> GENERATION_SHIFT == tail.record >> GENERATION_SHIFT
    fresh: Rows = rows[~(same & (seq <= tail.record))]
    return fresh


def begun(rows: Rows, tail: Tail) -> Tail:
    """The tail before ``rows``; that of a spool that saw no record yet owes what came before them.

    The first ring generation is 1, and each counts from zero: what came before the first row was
    dropped, or a spool had it that is no more.
    """
    if tail.record >= 0:
        return tail
    first = int(rows["seq"][0])
    generation = first >> GENERATION_SHIFT
    owed = [*tail.owed]
    if generation > 1:
        owed.append(_unread(generation, "nothing in this spool"))
    return Tail(first - 1, (*owed, *_head(first)))


def entries_of(rows: Rows, tail: Tail, ended: int = 0) -> list[Entry]:
    """What follows ``tail``: gaps owed, a batch per run of consecutive records, gaps between."""
    entries = [*tail.owed]
    for missing, run in _pieces(rows, tail.record, ended):
        entries += missing
        data = zstandard.compress(run.tobytes())
        entries.append(Entry(Kind.BATCH, int(run["seq"][0]), len(run), data))
    return entries


def refuse(rows: Rows, tail: Tail, reason: str, ended: int = 0) -> Tail:
    """The tail after ``rows`` were refused: they are owed as gaps, adjoining ones merged."""
    owed = [*tail.owed]
    for missing, run in _pieces(rows, tail.record, ended):
        for entry in missing:
            _owe(owed, entry)
        _owe(owed, gap(int(run["seq"][0]), len(run), reason))
    return Tail(int(rows["seq"][-1]), tuple(owed))


def encode_tail(tail: Tail) -> str:
    """Text to keep a tail by."""
    return msgspec.json.encode(tail).decode()


def decode_tail(text: str) -> Tail:
    """The tail kept as ``text``. Raises msgspec.DecodeError if it is none."""
    return msgspec.json.decode(text, type=Tail)


def labelled(kind: Any, first_record: Any, records: Any, label: Any) -> bool:
    """Are these the numbers that were written?"""
    numbers = (kind, first_record, records)
    if not all(isinstance(number, int) and 0 <= number < 1 << 63 for number in numbers):
        return False
    return kind in {*Kind} and label == label_of(kind, first_record, records)


def stored_entry(
    kind: Any, first_record: Any, records: Any, label: Any, data: Any, crc32: Any
) -> Entry | None:
    """An entry as it lies in the file, or None if it is not what was written."""
    if not labelled(kind, first_record, records, label) or not isinstance(data, bytes):
        return None
    entry = Entry(Kind(kind), first_record, records, data)
    return entry if entry.crc32 == crc32 else None


def _pieces(rows: Rows, previous: int, ended: int) -> Iterator[tuple[list[Entry], Rows]]:
    """Runs of consecutive records, each with the gaps before it."""
    limit = min(BATCH_MAX_RECORDS, _RAW_MAX_BYTES // rows.dtype.itemsize)
    breaks = np.flatnonzero(np.diff(rows["seq"].astype(np.int64)) != 1) + 1
    for run in np.split(rows, breaks):
        yield _missing(previous, int(run["seq"][0]), ended), run[:limit]
        for start in range(limit, len(run), limit):
            yield [], run[start : start + limit]
        previous = int(run["seq"][-1])


def _missing(previous: int, first: int, ended: int) -> list[Entry]:
    """Gaps between two records that follow one another; an earlier one below generation 1 is none.

    Within a ring generation the numbers tell how many are lost. How one ended only control can
    tell, and only if it ended in good order: a power cut takes the ring away.
    """
    generation, before = first >> GENERATION_SHIFT, previous >> GENERATION_SHIFT
    if first == previous + 1 or before < min(generation, 1):
        return []
    if generation == before:
        return [gap(previous + 1, first - previous - 1, _NOT_IN_RING)] if first > previous else []
    if ended >> GENERATION_SHIFT == before:
        lost = ended - previous - 1
        tail = [gap(previous + 1, lost, _NOT_IN_RING)] if lost > 0 else []
        return [*tail, *_head(first)]
    last = previous - (before << GENERATION_SHIFT)
    return [_unread(generation, f"record {last} of generation {before}"), *_head(first)]


def _unread(generation: int, seen: str) -> Entry:
    """A gap of unknown extent before a ring generation."""
    doubt = "nobody knows whether records between were lost"
    return gap(0, 0, f"ring generation {generation} follows {seen}: {doubt}")


def _head(first: int) -> list[Entry]:
    """A gap for what a ring generation made before the first record seen of it."""
    begin = first >> GENERATION_SHIFT << GENERATION_SHIFT
    return [gap(begin, first - begin, _NOT_IN_RING)] if first > begin else []


def _owe(owed: list[Entry], entry: Entry) -> None:
    """Append a gap, merged with the last one if they adjoin."""
    known = owed and owed[-1].records and entry.records
    if known and owed[-1].first_record + owed[-1].records == entry.first_record:
        before = owed.pop()
        entry = entry._replace(
            first_record=before.first_record, records=before.records + entry.records
        )
    owed.append(entry)
