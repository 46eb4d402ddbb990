"""How many records of a robot are held, doubled and missing, by the records' own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from offboard.losses import GENERATION_SHIFT


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
