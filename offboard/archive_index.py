"""Which episodes lie in the archive: the part of the catalogue that the archive's writer keeps."""

from __future__ import annotations

from offboard.database import Database
from offboard.losses import GENERATION_SHIFT
from protocol.step_record import Rows


class ArchiveIndex:
    """A view of the episode store's file; it holds nothing itself. Methods may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def through(self, robot: str) -> int:
        """Number of the last record that lies in an archived episode, -1 if there is none."""
        last = self._database.value("SELECT max(last_record) FROM episodes WHERE robot = ?", robot)
        return -1 if last is None else int(last)

    def is_archived(self, robot: str, generation: int, episode: int) -> bool:
        """Whether the catalogue knows a file of this episode, even one that was deleted since."""
        known = self._database.value(
            "SELECT 1 FROM episodes WHERE robot = ? AND generation = ? AND episode = ?",
            robot,
            generation,
            episode,
        )
        return known is not None

    def paths(self, robot: str) -> set[str]:
        """Files of the archive that the catalogue knows."""
        return {
            row[0]
            for row in self._database.rows("SELECT path FROM episodes WHERE robot = ?", robot)
        }

    def extend(self, robot: str, rows: Rows) -> None:
        """Note that ``rows``, which follow those of an archived episode, are on file as well."""
        with self._database.transaction():
            self._database.write(
                "UPDATE episodes SET last_record = max(last_record, ?) "
                "WHERE robot = ? AND generation = ? AND episode = ?",
                int(rows["seq"][-1]),
                robot,
                int(rows["seq"][0]) >> GENERATION_SHIFT,
                int(rows["episode"][0]),
            )

    def catalogue(self, robot: str, rows: Rows, path: str, sha256: str) -> None:
        """Note that an episode's rows lie in the archive file ``path``, whose digest this is."""
        with self._database.transaction():
            self._database.write(
                "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                robot,
                int(rows["seq"][0]) >> GENERATION_SHIFT,
                int(rows["episode"][0]),
                len(rows),
                int(rows["seq"][-1]),
                int(rows["end"][-1]),
                path,
                sha256,
            )
