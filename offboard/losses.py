"""Which records are lost for good, and to what; how many an older copy of the store has forgotten.

A store that is restored from an older copy lacks what came since. Robots send again what they still
hold; what they have trimmed is put on record at the greeting as a gap of unknown extent, and the
first entry that comes after it says how many records that were: numbers of a ring generation follow
one another without holes, from zero on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from offboard.database import Database
from offboard.store_check import gap_crc32
from protocol.messages import Batch, Gap

GENERATION_SHIFT = 40
"""A record's ``seq`` is the ring's generation above a counter of this many bits."""
FORGOTTEN = "are held by nobody any more"
_PATTERN = f"%{FORGOTTEN}%"
_HIGHEST = (
    "SELECT first_record + records FROM batches WHERE robot = ? ORDER BY first_record DESC",
    "SELECT first_record + records FROM gaps WHERE robot = ? ORDER BY first_record DESC",
    "SELECT last_record + 1 FROM episodes WHERE robot = ? ORDER BY last_record DESC",
)


@dataclass(frozen=True)
class Loss:
    """Gaps of one kind.

    Attributes:
        reason: theirs; a number in it is ``#``.
        gaps: how many there are.
        records: lost, as far as they say.
        unknown: how many of them do not say how many records.
    """

    reason: str
    gaps: int
    records: int
    unknown: int


def losses_of(gaps: Iterable[Gap]) -> list[Loss]:
    """What was lost to what, the most first."""
    found: dict[str, Loss] = {}
    for gap in gaps:
        reason = re.sub(r"\d+", "#", gap.reason)
        known = found.get(reason, Loss(reason, 0, 0, 0))
        found[reason] = replace(
            known,
            gaps=known.gaps + 1,
            records=known.records + gap.count,
            unknown=known.unknown + _uncounted(gap),
        )
    return sorted(found.values(), key=lambda loss: (-loss.records, loss.reason))


def forgotten_gap(epoch: str, last: int, first_held: int) -> Gap:
    """In the place of the entries between what the store has and what the robot holds."""
    return Gap(
        epoch=epoch,
        seq=first_held - 1,
        first_record=0,
        count=0,
        reason=f"batches {last + 1} to {first_held - 1} {FORGOTTEN}",
    )


def counted(gap: Gap, end: int, first_record: int) -> Gap:
    """A forgotten gap now that it is known what came after it.

    Args:
        gap: of unknown extent.
        end: number after the highest of the robot's records that are stored or declared, 0 if none.
        first_record: of what came next, ``end`` or higher.

    Returns:
        The gap with its records. Those that a generation before that of ``first_record`` still had
        after ``end`` are not in the count, and the reason says so.
    """
    begin = first_record >> GENERATION_SHIFT << GENERATION_SHIFT
    if end >= begin:
        return Gap(
            epoch=gap.epoch,
            seq=gap.seq,
            first_record=end,
            count=first_record - end,
            reason=gap.reason,
        )
    return Gap(
        epoch=gap.epoch,
        seq=gap.seq,
        first_record=begin,
        count=first_record - begin,
        reason=f"{gap.reason}; not counted is what was before the robot's ring was made anew",
    )


class Forgotten:
    """Gaps of a store that still wait for their count; methods belong in a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, list[Gap]] = {}

    def reread(self) -> None:
        """Gaps were written or taken back: look again."""
        self._waiting.clear()

    def count(self, robot: str, entries: Sequence[Batch | Gap]) -> None:
        """Settle what waits, if ``entries``, not yet written, say how much is missing before them.

        An entry from before what is stored already, as a robot sends that went back, says nothing.
        """
        if robot not in self._waiting:
            self._waiting[robot] = self._uncounted(robot)
        waiting = self._waiting[robot]
        first = next((entry.first_record for entry in entries if not _uncounted(entry)), None)
        if not waiting or first is None or first < (end := self._end(robot)):
            return
        for gap in waiting:  # the first one says it all, the others that nothing is left
            self._write(robot, counted(gap, end, first))
            end = first
        self.reread()

    def _uncounted(self, robot: str) -> list[Gap]:
        return [
            Gap(epoch=epoch, seq=seq, first_record=0, count=0, reason=reason)
            for epoch, seq, reason in self._database.rows(
                "SELECT epoch, seq, reason FROM gaps WHERE robot = ? AND first_record = 0 "
                "AND records = 0 AND reason LIKE ? ORDER BY rowid",
                robot,
                _PATTERN,
            )
        ]

    def _end(self, robot: str) -> int:
        """Number after the highest record that is stored, was archived or is declared lost."""
        ends = (self._database.value(f"{query} LIMIT 1", robot) for query in _HIGHEST)
        return max(int(end or 0) for end in ends)

    def _write(self, robot: str, gap: Gap) -> None:
        self._database.write(
            "UPDATE gaps SET first_record = ?, records = ?, reason = ?, crc32 = ? "
            "WHERE robot = ? AND epoch = ? AND seq = ?",
            gap.first_record,
            gap.count,
            gap.reason,
            gap_crc32(gap),
            robot,
            gap.epoch,
            gap.seq,
        )


def forgotten_records(database: Database, robot: str) -> int:
    """Records of a robot that only a newer copy of the store had, as far as they are counted."""
    total: Any = database.value(
        "SELECT total(records) FROM gaps WHERE robot = ? AND reason LIKE ?", robot, _PATTERN
    )
    return int(total)


def _uncounted(entry: Batch | Gap) -> bool:
    return entry.first_record == 0 and entry.count == 0
