"""What a robot does right now, for whoever looks at it: its newest records, in one small file.

Who wants to see a robot touches ``RUN/live/ROBOT.watched``. While that is fresh the server keeps
the robot's newest records and writes them to ``RUN/live/ROBOT.window``. Where nobody looks nothing
is kept and nothing is written, however many robots there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from offboard.key_table import check_robot_name
from offboard.mcap_archive import action_units, column_units
from protocol.errors import StoreError, WireError
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows, decode_rows, record_dtype

LIVE = "live"
WATCHED_FOR_S = 6.0
"""How long one look lasts; whoever goes on looking says so more often."""
KEPT_S = 12.0
"""How much of the past is shown."""


class Window(Struct, frozen=True, kw_only=True):
    """The newest records of one robot, without holes in their numbers.

    ``columns`` and ``actions`` give the unit of each name, as the archive's schema does.
    """

    robot: str
    control_hz: int
    columns: dict[str, str]
    actions: dict[str, str]
    count: int
    data: bytes

    @property
    def rows(self) -> Rows:
        """(N,) read-only. Raises StoreError if they are not what the names say."""
        dtype = record_dtype(len(self.columns), len(self.actions))
        try:
            return decode_rows(self.data, dtype, self.count)
        except WireError as error:
            raise StoreError(f"the window of {self.robot} is damaged: {error}") from error


_decoder = msgspec.msgpack.Decoder(Window)


def watch(run: Path, robot: str) -> None:
    """Ask the server of ``run`` to show ``robot`` for the next seconds.

    Raises:
        ConfigError: no such name.
        StoreError: the folder cannot be written.
    """
    check_robot_name(robot)
    try:
        (run / LIVE).mkdir(exist_ok=True)
        (run / LIVE / f"{robot}.watched").touch()
    except OSError as error:
        raise StoreError(f"{run / LIVE} cannot be written: {error}") from error


def read_window(run: Path, robot: str) -> Window | None:
    """What was last shown of ``robot``, or None. Raises ConfigError, StoreError if damaged."""
    check_robot_name(robot)
    path = run / LIVE / f"{robot}.window"
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


class Windows:
    """The server's side. :meth:`saw` is ingest's, :meth:`refresh` another thread's; none raises.

    Attributes:
        watched: robots somebody looks at; replaced as a whole.
    """

    def __init__(self, run: Path, spec: RobotSpec, clock_s: Callable[[], float] = time.time):
        """``clock_s`` is the file system's: Unix time."""
        self._folder = run / LIVE
        self._spec = spec
        self._clock_s = clock_s
        self._kept: dict[str, Rows] = {}
        self._written: dict[str, int] = {}
        self.watched: frozenset[str] = frozenset()

    def saw(self, robot: str, rows: Rows) -> None:
        """Keep (N,) rows that came, if somebody looks at this robot."""
        if robot not in self.watched:
            return
        before = self._kept.get(robot)
        if before is not None and _follows(before[-1], rows[0]):
            rows = np.concatenate([before, rows])
        self._kept[robot] = rows[-round(KEPT_S * self._spec.control_hz) :]

    def refresh(self) -> None:
        """See who is looked at, and write what is new about them; a full disk shows nothing."""
        with suppress(OSError):
            self.watched = frozenset(self._looked_at())
            for robot, rows in [*self._kept.items()]:  # copied at once: ingest goes on
                newest = int(rows["seq"][-1])
                if robot not in self.watched:
                    self._kept.pop(robot, None)
                elif self._written.get(robot) != newest:
                    self._write(robot, rows)
                    self._written[robot] = newest

    def _looked_at(self) -> list[str]:
        oldest_s = self._clock_s() - WATCHED_FOR_S
        if not self._folder.is_dir():
            return []
        marks = self._folder.glob("*.watched")
        return [mark.stem for mark in marks if mark.stat().st_mtime > oldest_s]

    def _write(self, robot: str, rows: Rows) -> None:
        window = Window(
            robot=robot,
            control_hz=self._spec.control_hz,
            columns=column_units(self._spec),
            actions=action_units(self._spec),
            count=len(rows),
            data=rows.tobytes(),
        )
        part = self._folder / f".{robot}.part"
        part.write_bytes(msgspec.msgpack.encode(window))
        part.replace(self._folder / f"{robot}.window")


def _follows(last: np.void, first: np.void) -> bool:
    """Is ``first`` the record after ``last``, in number and in time?"""
    follows = int(first["seq"]) == int(last["seq"]) + 1 and first["sense_ns"] >= last["sense_ns"]
    return bool(follows)
