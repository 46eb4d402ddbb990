"""The processes of a storm: each may be killed and started again at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from made_records import ROBOT_FILE

TREE = ROBOT_FILE.parents[1]
_GRACE_S = 60.0


class Member:
    """One program, its log, and how often it was killed.

    Args:
        arguments: of ``python -m``.
        log: what it prints is added to this file.
        tree: the source tree it is run from; another release's, or this one.

    Attributes:
        kills: SIGKILLs that found it running.
        deaths: times it was found ended by itself.
    """

    def __init__(self, arguments: list[object], log: Path, tree: Path = TREE) -> None:
        self._argv = [sys.executable, "-m", *map(str, arguments)]
        self._log, self._tree = log, tree
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0
        self.deaths = 0

    def start(self) -> None:
        """Unless it is running."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            self.deaths += 1
        places = f"{self._tree}:{self._tree / 'tests' / 'support'}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, env=environment, stdout=log, stderr=log, cwd=self._tree
            )

    def kill(self) -> None:
        """SIGKILL, now."""
        if self._process is not None:
            self.kills += self._process.poll() is None
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> int:
        """SIGTERM; the exit status. It does not count as a kill."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process = None
