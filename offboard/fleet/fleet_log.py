"""Who got what when, and why: rollouts and what became of them, in one SQLite file.

Events are only ever added. The file is opened for one look or one entry at a time, so that
``fleet status`` can be asked while a deploy runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from offboard.database import Database, open_database
from offboard.file_lock import waiting_lock
from offboard.fleet.fleet_event import REPORTED, Event, unentered
from offboard.fleet.rollout import Rollout, Stage, halt
from protocol.errors import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rollouts (number INTEGER PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, operator TEXT NOT NULL,
    rollout INTEGER NOT NULL, unit TEXT NOT NULL, release TEXT NOT NULL, what TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
CREATE TRIGGER IF NOT EXISTS events_remain BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
"""
_LATEST = "SELECT state FROM rollouts ORDER BY number DESC LIMIT 1"
_ORDERED = """
SELECT release FROM events WHERE unit = ? AND what = 'assigned' ORDER BY number DESC LIMIT 1
"""
_ADD = """
INSERT INTO events (at_s, operator, rollout, unit, release, what, reason)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_NEWEST = """
SELECT at_s, operator, rollout, unit, release, what, reason FROM events
    WHERE ?1 IN ('', unit) ORDER BY at_s DESC, number DESC LIMIT ?2
"""
_REPORTED = """
SELECT at_s, operator, rollout, unit, release, what, reason FROM events
    WHERE what GLOB ? ORDER BY number
"""
_CAUSE = """
SELECT rollout FROM events WHERE unit = ? AND release = ? AND what = 'assigned'
    ORDER BY number DESC LIMIT 1
"""


class FleetLog:
    """The log.

    Args:
        path: its file.
        operator: who is entered as the one that did it.
        clock_s: Unix time.
    """

    def __init__(self, path: Path, operator: str, clock_s: Callable[[], float]) -> None:
        self._path = path
        self._operator = operator
        self._clock_s = clock_s

    def latest(self) -> Rollout | None:
        """The newest rollout. Raises StoreError."""
        with self._opened() as database:
            data = database.value(_LATEST)
        return None if data is None else self._decoded(data)

    def recent(self, count: int) -> list[Rollout]:
        """The newest ``count`` rollouts, newest first. Raises StoreError."""
        with self._opened() as database:
            rows = database.rows("SELECT state FROM rollouts ORDER BY number DESC LIMIT ?", count)
        return [self._decoded(data) for (data,) in rows]

    def keep(
        self,
        rollout: Rollout,
        happened: Sequence[tuple[str, str, str, str]] = (),
        resumes: bool = False,
    ) -> Rollout:
        """Note where ``rollout`` is, and what happened: unit, release, what, reason.

        One that somebody has halted meanwhile stays halted, unless a person ``resumes`` it.

        Returns:
            The rollout as it was noted.

        Raises:
            StoreError: nothing was noted.
        """
        with self._opened() as database, database.transaction():
            data = database.value("SELECT state FROM rollouts WHERE number = ?", rollout.number)
            held = None if data is None else self._decoded(data)
            if held is not None and held.stage is Stage.HALTED and not resumes:
                rollout = replace(rollout, stage=Stage.HALTED, reason=held.reason)
            self._write(database, rollout, happened)
        return rollout

    def halt(self, reason: str) -> Rollout | None:
        """Halt the newest rollout, whoever is carrying it out; None if there is none.

        Raises:
            ConfigError: it is done, or halted already.
            StoreError: nothing was noted.
        """
        with self._opened() as database, database.transaction():
            data = database.value(_LATEST)
            if data is None:
                return None
            rollout = halt(self._decoded(data), reason)
            self._write(database, rollout, [("", "", "halted", reason)])
        return rollout

    def ordered(self, unit: str) -> str:
        """The release that ``unit`` was assigned last; empty if none ever. Raises StoreError."""
        with self._opened() as database:
            release = database.value(_ORDERED, unit)
        return "" if release is None else str(release)

    def events(self, count: int = 20, unit: str = "") -> list[Event]:
        """The newest events, oldest of them first, of one unit or of all. Raises StoreError."""
        with self._opened() as database:
            rows = database.rows(_NEWEST, unit, count)
        return [Event(*row) for row in reversed(rows)]

    def enter(self, reported: Sequence[Event]) -> int:
        """Add what units said of themselves, with the time it was heard, and what is news of it.

        Each gets the rollout that assigned its unit that release, 0 if none did.

        Returns:
            How many were added.

        Raises:
            StoreError: nothing was added.
        """
        with self._opened() as database, database.transaction():
            held = self._reported(database)
            lines = [
                event._replace(rollout=database.value(_CAUSE, event.unit, event.release) or 0)
                for event in unentered(held, reported)
            ]
            database.write_many(_ADD, lines)
        return len(lines)

    def reported(self) -> list[Event]:
        """What units ever said of themselves, as it was entered. Raises StoreError."""
        with self._opened() as database:
            return self._reported(database)

    def _reported(self, database: Database) -> list[Event]:
        return [Event(*row) for row in database.rows(_REPORTED, f"{REPORTED}*")]

    def _write(
        self, database: Database, rollout: Rollout, happened: Sequence[tuple[str, str, str, str]]
    ) -> None:
        """What could not be read again is not written."""
        state = msgspec.json.encode(rollout)
        self._decoded(state)
        now_s = self._clock_s()
        lines = [(now_s, self._operator, rollout.number, *line) for line in happened]
        database.write("INSERT OR REPLACE INTO rollouts VALUES (?, ?)", rollout.number, state)
        database.write_many(_ADD, lines)

    @contextmanager
    def _opened(self) -> Iterator[Database]:
        with (
            waiting_lock(self._path.with_name(f".{self._path.name}.lock")),
            closing(open_database(self._path, _SCHEMA)) as database,
        ):
            yield database

    def _decoded(self, data: bytes) -> Rollout:
        try:
            return msgspec.json.decode(data, type=Rollout)
        except msgspec.DecodeError as error:
            raise StoreError(f"{self._path}: a rollout is damaged: {error}") from error
