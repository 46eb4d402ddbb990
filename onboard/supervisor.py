"""Keeps the two processes of a robot alive: control comes back into IDLE, the agent goes on.

A child that dies is started again after a pause that doubles while it keeps dying. A child that
says its configuration is wrong ends everything: starting it again would not help.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onboard.exit_status import Exit

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
STEADY_S = 10.0
"""A child that lived this long starts with the first pause again."""
POLL_S = 0.05
STOP_S = 5.0


def environment() -> dict[str, str]:
    """Ours, with this very code on the path: from Python 3.11 on before what lies where they start.

    A release's launcher puts its code on its own path only: a child would not know of it.
    """
    code, others = str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, (code, others)))
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


class Child:
    """One process that is meant to run."""

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        self.name, self._argv = name, argv
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._due_s = 0.0
        self._pause_s = FIRST_PAUSE_S

    def start_if_due(self, now_s: float) -> None:
        """Start the process unless it runs or pauses."""
        if self._process is None and now_s >= self._due_s:
            self._process = subprocess.Popen(self._argv, env=environment())
            self._started_s = now_s

    def ended(self, now_s: float) -> int | None:
        """Exit status if the process has just died; plans the restart."""
        status = None if self._process is None else self._process.poll()
        if status is not None:
            self._process = None
            if now_s - self._started_s > STEADY_S:
                self._pause_s = FIRST_PAUSE_S
            self._due_s = now_s + self._pause_s
            self._pause_s = min(2.0 * self._pause_s, LONGEST_PAUSE_S)
        return status

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process is not None:
            self._process.terminate()

    def wait(self) -> None:
        """Wait until it has; kill it if it takes too long."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class Supervisor:
    """Runs named commands until :meth:`end`."""

    def __init__(self, commands: Mapping[str, Sequence[str]], log: Callable[[str], None]) -> None:
        self._children = [Child(name, argv) for name, argv in commands.items()]
        self._log = log
        self._ending = False

    def run(self) -> int:
        """Exit status 0 after :meth:`end`, 2 if a child refused its configuration."""
        status = 0
        try:
            while not self._ending and status != Exit.CONFIG:
                status = self._turn()
                time.sleep(POLL_S)
        finally:
            for child in self._children:
                child.terminate()
            for child in self._children:
                child.wait()
        return Exit.CONFIG if status == Exit.CONFIG else Exit.DONE

    def end(self) -> None:
        """Let :meth:`run` stop both children and return; for signal handlers."""
        self._ending = True

    def _turn(self) -> int:
        now_s = time.monotonic()
        for child in self._children:
            status = child.ended(now_s)
            if status is not None:
                self._log(f"{child.name} ended with status {status}")
                if status == Exit.CONFIG:
                    return status
            child.start_if_due(now_s)
        return 0
