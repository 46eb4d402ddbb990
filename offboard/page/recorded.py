"""What the page shows of a robot: its live window, or its last finished episode. Reads files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

from offboard.live_window import LIVE, read_window, watch
from offboard.page.strip import Shown

ARCHIVE = "archive"
FRESH_S = 3.0
"""A window older than that is no news any more."""


class Look(NamedTuple):
    """Records, and where they come from, in words."""

    shown: Shown
    origin: str
    live: bool


class Recorded:
    """One robot of one run, for one viewer."""

    def __init__(self, run: Path, robot: str) -> None:
        self._run, self._robot = run, robot
        self._episode: tuple[Path, Look] | None = None

    def look(self, now_s: float, server_runs: bool) -> Look | None:
        """The newest there is, None if there is nothing; asks a running server for more.

        Raises:
            ConfigError: no such robot name.
            StoreError: what is there is damaged.
        """
        if server_runs:
            watch(self._run, self._robot)
        return self._live(now_s) or self._last_episode()

    def _live(self, now_s: float) -> Look | None:
        window = read_window(self._run, self._robot)
        path = self._run / LIVE / f"{self._robot}.window"
        if window is None or window.count == 0 or now_s - path.stat().st_mtime > FRESH_S:
            return None
        shown = Shown(window.columns, window.actions, window.rows, window.control_hz)
        return Look(shown, "Live, a second or two behind the robot.", live=True)

    def _last_episode(self) -> Look | None:
        files = sorted((self._run / ARCHIVE / self._robot).glob("g*-e*.mcap"))
        if not files:
            return None
        if self._episode is None or self._episode[0] != files[-1]:
            self._episode = files[-1], _read(files[-1])
        return self._episode[1]


def _read(path: Path) -> Look:
    """An archived episode. The reader brings torch, which only who looks at the past waits for."""
    recording = importlib.import_module("offboard.data.recording").read_recording(path)
    shown = Shown(recording.columns, recording.actions, recording.rows, recording.control_hz)
    return Look(shown, f"Recorded: {path.stem}, the last episode that was finished.", live=False)
