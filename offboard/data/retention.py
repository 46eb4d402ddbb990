"""How much a server keeps, and for how long: what leaves first, and what never does.

Records are held twice: packed as they came, and, once their episode is over, in the archive. Over
budget, packed records of archived episodes go first, which loses nothing: what lies between
episodes is written to a ``rest`` file before, and :mod:`offboard.data.history` reads it all back.
Then the oldest files go. Never deleted are records of episodes not archived yet, files of robots
in ``keep``, where streams stand, and what was declared lost. Everything in the store was committed,
which is what a robot gets acknowledged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from offboard.archive_index import ArchiveIndex
from offboard.data.catalogue import Archived, Catalogue, Packed
from offboard.data.verification import check_episode
from offboard.episode_store import EpisodeStore
from offboard.losses import GENERATION_SHIFT
from offboard.mcap_archive import rest_name, write_rows
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec
from protocol.step_record import End, Rows

DAY_S = 86_400.0
MB = 1_000_000


@dataclass(frozen=True)
class Retention:
    """How much is kept, and how long.

    Attributes:
        budget_mb: of store and archive together, MB.
        keep_days: what was archived so many days ago goes.
    """

    budget_mb: float = math.inf
    keep_days: float = math.inf

    @property
    def limited(self) -> bool:
        """Whether there is any bound."""
        return math.isfinite(self.budget_mb) or math.isfinite(self.keep_days)


class Freed(NamedTuple):
    """What was deleted, and why robots were left alone."""

    batches: int = 0
    files: int = 0
    size_bytes: int = 0
    spared: tuple[str, ...] = ()


class _File(NamedTuple):
    """A file of the archive and, if it is catalogued, its episode."""

    path: Path
    robot: str
    written_s: float
    size_bytes: int
    episode: Archived | None


class Pruner:
    """Keeps the disk of one server within bounds.

    Attributes:
        keep: robots whose files must stay, because a restarted server learns from them.
        total: all that was deleted since the start.

    Args:
        store: of the robots.
        spec: their robot file.
        archive: folder of the MCAP files.
        retention: the bounds.
        keep: robots whose files must stay at first.
        now_s: the wall clock.
    """

    def __init__(
        self,
        store: EpisodeStore,
        spec: RobotSpec,
        archive: Path,
        retention: Retention,
        keep: frozenset[str],
        now_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._catalogue = Catalogue(store.database)
        self._index = ArchiveIndex(store.database)
        self._spec = spec
        self._archive = archive
        self._retention = retention
        self.keep = keep
        self._now_s = now_s
        self.total = Freed()

    def prune(self) -> Freed:
        """Delete what is due, and only that.

        Raises:
            StoreError: store or archive cannot be read or written.
        """
        if not self._retention.limited:
            return Freed()
        held = self._held_bytes()
        if held <= self._budget and not any(self._expired(file) for file in self._files()):
            return Freed()
        batches, faults = self._drop_redundant()
        files = self._delete_files(frozenset(faults))
        freed = Freed(batches, files, held - self._held_bytes(), tuple(faults.values()))
        self.total = Freed(
            self.total.batches + freed.batches,
            self.total.files + freed.files,
            self.total.size_bytes + freed.size_bytes,
            freed.spared,
        )
        return freed

    @property
    def _budget(self) -> float:
        return self._retention.budget_mb * MB

    def _expired(self, file: _File) -> bool:
        return self._now_s() - file.written_s > self._retention.keep_days * DAY_S

    def _held_bytes(self) -> int:
        archived = (path.stat().st_size for path in self._archive.rglob("*.mcap"))
        return self._catalogue.used_bytes() + sum(archived)

    def _files(self) -> list[_File]:
        """Files that need not be kept, oldest first."""
        found = []
        for robot in self._catalogue.robots():
            if robot in self.keep:
                continue
            episodes = {episode.path: episode for episode in self._catalogue.episodes(robot)}
            for path in (self._archive / robot).glob("*.mcap"):
                facts, name = path.stat(), str(path.relative_to(self._archive))
                found.append(_File(path, robot, facts.st_mtime, facts.st_size, episodes.get(name)))
        return sorted(found, key=lambda file: (file.written_s, file.path))

    def _drop_redundant(self) -> tuple[int, dict[str, str]]:
        """Packed records that the archive holds go; also why that was not done for a robot."""
        dropped, faults = 0, {}
        for robot in self._catalogue.robots():
            through = self._index.through(robot)
            packed = self._catalogue.packed(robot)
            due = [batch for batch in packed if batch.last_record <= through and batch.sound]
            if not due:
                continue
            if fault := self._fault(robot, due[0].first_record):
                faults[robot] = f"{robot} is left alone: {fault}"
                continue
            self._save_rest(robot, due)
            self._catalogue.delete_packed(batch.id for batch in due)
            dropped += len(due)
        return dropped, faults

    def _fault(self, robot: str, first_record: int) -> str:
        """What is wrong with the archive of records from ``first_record`` on."""
        for episode in self._catalogue.episodes(robot):
            if episode.path and episode.last_record >= first_record:
                for damage in check_episode(episode, self._archive):
                    return damage.fault
        return ""

    def _save_rest(self, robot: str, due: list[Packed]) -> None:
        """Records in no archived episode get a file of their own before they are dropped."""
        last = max(batch.last_record for batch in due)
        archived = [
            _key(episode.generation, episode.episode) for episode in self._catalogue.episodes(robot)
        ]
        parts = [np.empty(0, self._store.dtype)]
        for rows in self._store.rows(robot, due[0].first_record - 1):
            parts.append(_outside(rows[rows["seq"] <= np.uint64(last)], archived))
            if int(rows["seq"][-1]) >= last:
                break
        rest = np.concatenate(parts)
        if len(rest):
            path = self._archive / robot / f"{rest_name(rest)}.mcap"
            try:
                write_rows(path, rest, self._spec, robot)
            except OSError as error:
                raise StoreError(f"{path} cannot be written: {error}") from error

    def _delete_files(self, spared: frozenset[str]) -> int:
        """Expired files, then the oldest while the budget is exceeded."""
        held, deleted = self._held_bytes(), 0
        for file in self._files():
            if file.robot in spared or not (self._expired(file) or held > self._budget):
                continue
            if file.episode is not None:
                self._catalogue.mark_deleted(file.episode)
            try:
                file.path.unlink()
            except OSError as error:
                raise StoreError(f"{file.path} cannot be deleted: {error}") from error
            held -= file.size_bytes
            deleted += 1
        return deleted


def _key(generation: int, episode: int) -> int:
    return generation << 32 | episode


def _outside(rows: Rows, archived: list[int]) -> Rows:
    """Rows (N,) of no archived episode; see :func:`offboard.mcap_archive.finished_episodes`."""
    keys = (rows["seq"].astype(np.int64) >> GENERATION_SHIFT << 32) | rows["episode"]
    running = (rows["mode"] == Mode.RUN) | (rows["end"] != End.RUNNING)
    outside: Rows = rows[~(running & np.isin(keys, archived))]
    return outside
