"""What a server holds of its robots: archived episodes, packed records, declared losses.

A view of the episode store's file for those who list, check and prune it. It needs no robot file
and changes nothing of how records are accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from offboard.database import Database, open_database
from offboard.episode_tables import check_layout
from offboard.losses import Loss, forgotten_records, losses_of
from offboard.record_account import Account, account_of
from offboard.store_check import Findings, examine, is_sound
from protocol.errors import StoreError
from protocol.messages import Gap

STORE = "episodes.sqlite"
ARCHIVE = "archive"


class Archived(NamedTuple):
    """One finished episode; ``path`` is relative to the archive and empty once it was deleted."""

    robot: str
    generation: int
    episode: int
    records: int
    last_record: int
    end: int
    path: str
    sha256: str | None

    @property
    def name(self) -> str:
        """As people call it, for example ``furuta-01/g001-e000003``."""
        return f"{self.robot}/g{self.generation:03d}-e{self.episode:06d}"


class Packed(NamedTuple):
    """One batch of records as it came; ``sound`` says whether it still is what came."""

    id: int
    first_record: int
    records: int
    size_bytes: int
    sound: bool

    @property
    def last_record(self) -> int:
        """Number of its last record."""
        return self.first_record + self.records - 1


def open_catalogue(run: Path) -> Catalogue:
    """The catalogue in the run directory of a server that is not running.

    Raises:
        StoreError: there is none, a server holds it, or another version's tables are in it.
    """
    path = run / STORE
    if not path.exists():
        raise StoreError(f"{run} holds no {STORE}; name the --out of a serve run")
    try:
        database = open_database(path, "")
    except StoreError as error:
        raise StoreError(f"{error}; while a server runs, name {run / ARCHIVE}") from error
    try:
        check_layout(database, path)
    except StoreError as error:
        database.close()
        raise StoreError(f"{error}; {run / ARCHIVE} can be read as it is") from error
    return Catalogue(database)


class Catalogue:
    """Methods may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def robots(self) -> list[str]:
        """Names of all robots that ever delivered, sorted."""
        return [row[0] for row in self._database.rows("SELECT DISTINCT robot FROM streams")]

    def account(self, robot: str) -> Account:
        """Committed, lost and doubled records that are still held packed."""
        spans = self._database.rows(
            "SELECT first_record, records FROM batches WHERE robot = ? ORDER BY first_record, id",
            robot,
        )
        return account_of(spans)._replace(
            declared=sum(gap.count for gap in self.gaps(robot)),
            forgotten=forgotten_records(self._database, robot),
        )

    def gaps(self, robot: str) -> list[Gap]:
        """Losses that were declared, in the order of their streams."""
        return [
            Gap(epoch=epoch, seq=seq, first_record=first, count=records, reason=reason)
            for epoch, seq, first, records, reason in self._database.rows(
                "SELECT epoch, seq, first_record, records, reason FROM gaps WHERE robot = ? "
                "ORDER BY epoch, seq",
                robot,
            )
        ]

    def losses(self, robot: str) -> list[Loss]:
        """How many records of a robot are lost, and to what, the most first."""
        return losses_of(self.gaps(robot))

    def episodes(self, robot: str) -> list[Archived]:
        """Archived episodes in order, deleted ones too."""
        return [
            Archived(*row)
            for row in self._database.rows(
                "SELECT robot, generation, episode, records, last_record, end, path, sha256 "
                "FROM episodes WHERE robot = ? ORDER BY last_record",
                robot,
            )
        ]

    def examine(self) -> Findings:
        """Repair what can be, declare lost what cannot; see :func:`offboard.store_check.examine`.

        Raises:
            StoreError: the file is damaged beyond that; restore it from a backup.
        """
        return examine(self._database)

    def packed(self, robot: str) -> Iterator[Packed]:
        """Batches in the order of their records, each read and checked against its CRC-32."""
        numbers = self._database.rows(
            "SELECT id FROM batches WHERE robot = ? ORDER BY first_record, id", robot
        )
        for (number,) in numbers:
            for row in self._database.rows(
                "SELECT first_record, records, data, crc32 FROM batches WHERE id = ?", number
            ):
                yield _packed(number, *row)

    def used_bytes(self) -> int:
        """What the file's content takes; pages freed by deletion are used again and not counted."""
        pages, free, size = (
            int(self._database.value(f"PRAGMA {name}"))
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def packed_bytes(self, robot: str) -> int:
        """Size of all batches of a robot."""
        return int(
            self._database.value(
                "SELECT coalesce(sum(length(data)), 0) FROM batches WHERE robot = ?", robot
            )
        )

    def delete_packed(self, numbers: Iterable[int]) -> None:
        """Delete batches; where their streams stand stays, so none is taken a second time."""
        with self._database.transaction():
            self._database.write_many(
                "DELETE FROM batches WHERE id = ?", ((number,) for number in numbers)
            )

    def mark_deleted(self, episode: Archived) -> None:
        """Note that the archive no longer holds ``episode``."""
        with self._database.transaction():
            self._database.write(
                "UPDATE episodes SET path = '' WHERE robot = ? AND generation = ? AND episode = ?",
                episode.robot,
                episode.generation,
                episode.episode,
            )

    def give_back(self) -> None:
        """Shrink the file to what it holds. It is written anew, so there must be room for it."""
        self._database.rows("VACUUM")


def _packed(id: int, first_record: Any, records: Any, data: Any, crc32: Any) -> Packed:
    """A row as it was read; where it is damaged its numbers need not even be numbers."""
    if is_sound(first_record, records, data, crc32):
        return Packed(id, first_record, records, len(data), sound=True)
    size_bytes = len(data) if isinstance(data, bytes) else 0
    return Packed(id, _number(first_record), _number(records), size_bytes, sound=False)


def _number(value: object) -> int:
    """0 for what is none."""
    return value if isinstance(value, int) else 0
