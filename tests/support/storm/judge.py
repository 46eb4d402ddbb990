"""Did the server get what the robot made, once, in order, and is every loss on record? Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from made_records import GENERATION

from protocol.messages import Gap
from protocol.step_record import Rows

Numbers = set[int]


class Stored(NamedTuple):
    """A batch as it lies in the server's catalogue, in order of arrival."""

    number: int
    epoch: str
    seq: int
    first: int
    records: int


@dataclass(frozen=True)
class Verdict:
    """Records unless said otherwise; ``undeclared`` is what must never be.

    ``lost_to`` says of how many lost ones which kind of gap speaks, numbers in its reason left out.
    """

    produced: int
    committed: int
    lost: int
    undeclared: int
    duplicated: int
    reordered: int
    corrupted: int
    gaps_declared: int
    lost_to: dict[str, int]

    @property
    def holds(self) -> bool:
        """The invariant."""
        return not (self.undeclared or self.duplicated or self.reordered or self.corrupted)


def judge(
    produced: int,
    made: Callable[[int, int], Rows],
    read: Sequence[Rows],
    batches: Sequence[Stored],
    gaps: Sequence[Gap],
) -> Verdict:
    """Compare.

    Args:
        produced: rows of the first ring generation, from number 0 on.
        made: ``made(first, count)`` are the rows that were produced.
        read: what the server's store reads back, in its order.
        batches: what lies in the store, in order of arrival.
        gaps: what was declared.
    """
    rows = np.concatenate([made(0, 0), *read])
    numbers = rows["seq"].astype(np.int64) - GENERATION
    expected = made(0, produced)
    known = (numbers >= 0) & (numbers < produced)
    corrupted = int((~known).sum())
    corrupted += int((_bytes(rows[known]) != _bytes(expected[numbers[known]])).any(1).sum())
    missing = np.setdiff1d(np.arange(produced), numbers)
    return Verdict(
        produced=produced,
        committed=len(np.unique(numbers)),
        lost=len(missing),
        undeclared=int((~covered(missing, declared(batches, gaps))).sum()),
        duplicated=len(numbers) - len(np.unique(numbers)),
        reordered=int((np.diff(numbers) < 0).sum()),
        corrupted=corrupted,
        gaps_declared=len(gaps),
        lost_to=_lost_to(missing, declared(batches, gaps), [gap.reason for gap in gaps]),
    )


def declared(batches: Sequence[Stored], gaps: Sequence[Gap]) -> list[tuple[float, float]]:
    """Half-open ranges of record numbers that gaps say, or may say, are lost.

    A gap of unknown extent speaks of what lies between the batch before it and the one after it.
    """
    return [
        (gap.first_record - GENERATION, gap.first_record - GENERATION + gap.count)
        if gap.count
        else _between(batches, gap)
        for gap in gaps
    ]


def covered(numbers: np.ndarray, ranges: Sequence[tuple[float, float]]) -> np.ndarray:
    """(N,) whether each number lies in one of the ranges."""
    inside = np.zeros(len(numbers), dtype=bool)
    for low, high in ranges:
        inside |= (numbers >= low) & (numbers < high)
    return inside


def _lost_to(
    missing: np.ndarray, ranges: Sequence[tuple[float, float]], reasons: Sequence[str]
) -> dict[str, int]:
    """Each missing number counts for the first gap that speaks of it."""
    found: Counter[str] = Counter()
    for span, reason in zip(ranges, reasons, strict=True):
        spoken = covered(missing, [span])
        found[re.sub(r"\d+", "#", reason)] += int(spoken.sum())
        missing = missing[~spoken]
    return dict(found)


def _bytes(rows: Rows) -> np.ndarray:
    """(N, row size) bytes."""
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


def _between(batches: Sequence[Stored], gap: Gap) -> tuple[float, float]:
    """In its own epoch; if it begins one, after all that had arrived until then.

    If it ends one, before what arrived in later epochs: that was made after the gap was declared,
    or is from before the gap and sent again, and then the gap was declared again too.
    """
    same = [batch for batch in batches if batch.epoch == gap.epoch]
    after = [batch for batch in same if batch.seq > gap.seq]
    before = [batch for batch in same if batch.seq < gap.seq]
    if not before:
        first = min((batch.number for batch in after), default=np.inf)
        before = [batch for batch in batches if batch.number < first]
    low = max((batch.first + batch.records for batch in before), default=-np.inf)
    if not after:
        last = max((batch.number for batch in before), default=np.inf)
        after = [batch for batch in batches if batch.number > last and batch.first >= low]
    high = min((batch.first for batch in after), default=np.inf)
    return float(low - GENERATION), float(high - GENERATION)
