"""What takes a bad release back when no release can be relied on: at boot, and when control fails.

Only the standard library, and from a folder outside of every release: it has to run even if none of
them can be imported. While somebody judges the release, and holds the lock, it is left to him.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onboard.releases.course import Booted, Failed, following
from onboard.releases.journal import Journal, Phase, recalled_journal, write_journal
from onboard.releases.links import follow, sweep
from onboard.releases.unit_paths import AGENT, CONTROL, JUDGE, UnitPaths
from protocol.errors import StoreError

BUS_FAILED = 3
"""Exit status of a control whose motors did not confirm; that is no release's fault for certain.
Source: onboard/exit_status.py.
"""
_SYSTEMCTL_S = 30

Systemctl = Callable[[Sequence[str]], str]


class Guardian:
    """Brings journal, links and disk together again."""

    def __init__(
        self, paths: UnitPaths, systemctl: Systemctl, wall_s: Callable[[], float] = time.time
    ) -> None:
        """``systemctl`` takes its arguments and returns what it prints."""
        self._paths, self._systemctl, self._wall_s = paths, systemctl, wall_s

    def boot(self) -> Journal:
        """Before control starts: sweep, count this start, see to it that there is a release.

        Raises:
            StoreError: there is no release, or the disk refuses.
        """
        sweep(self._paths)
        journal = self._usable(following(self._journal(), Booted(), self._wall_s()))
        write_journal(self._paths, journal)
        follow(self._paths, journal)
        self._have_judged(journal)
        return journal

    def control_failed(self) -> Journal:
        """Control ended and systemd starts it no more: a release on trial is taken back.

        Raises:
            StoreError: there is no release, or the disk refuses.
        """
        with self._locked() as alone:
            journal = self._taken_back(self._journal()) if alone else self._journal()
        if alone:
            self._have_judged(journal)
        return journal

    def _taken_back(self, before: Journal) -> Journal:
        result, status = self._result()
        if before.phase is Phase.SETTLED or status == BUS_FAILED:
            return before
        reason = f"control ended for good: {result}, exit status {status}"
        journal = self._usable(following(before, Failed(reason), self._wall_s()))
        write_journal(self._paths, journal)
        follow(self._paths, journal)
        self._systemctl(["reset-failed", CONTROL, AGENT])
        self._systemctl(["restart", "--no-block", CONTROL, AGENT])
        return journal

    def _journal(self) -> Journal:
        journal, trouble = recalled_journal(self._paths)
        if trouble:
            print(trouble, file=sys.stderr)
        return journal

    def _usable(self, journal: Journal) -> Journal:
        """Away from releases that are not on the disk, as far as there are others."""
        for _ in range(2):
            if not self._paths.usable(journal.current):
                journal = following(journal, Failed("it is not on the disk"), self._wall_s())
        return journal

    def _have_judged(self, journal: Journal) -> None:
        if journal.phase is not Phase.SETTLED:
            self._systemctl(["start", "--no-block", JUDGE])

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Are we alone? Then it stays so."""
        with self._paths.lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _result(self) -> tuple[str, int]:
        """How systemd says control ended."""
        asked = ["show", "--property=Result,ExecMainStatus", CONTROL]
        found = dict(line.partition("=")[::2] for line in self._systemctl(asked).splitlines())
        status = found.get("ExecMainStatus", "")
        return found.get("Result", "unknown"), int(status) if status.isdecimal() else 0


def systemctl(arguments: Sequence[str]) -> str:
    """Run systemctl; what goes wrong is in the log, there is nobody to tell."""
    argv = ["systemctl", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_SYSTEMCTL_S, check=False)
    if done.returncode != 0:
        print(f"{' '.join(argv)}: {done.stderr.strip()}", file=sys.stderr)
    return done.stdout


def main(argv: Sequence[str], root: Path = Path("/")) -> int:
    """``boot``, or ``control-failed``. Returns the exit status."""
    guardian = Guardian(UnitPaths(root), systemctl)
    acts = {"boot": guardian.boot, "control-failed": guardian.control_failed}
    if len(argv) != 1 or argv[0] not in acts:
        print(f"say one of: {', '.join(acts)}", file=sys.stderr)
        return 2
    try:
        journal = acts[argv[0]]()
    except (StoreError, OSError, subprocess.SubprocessError) as error:
        print(f"release guardian: {error}", file=sys.stderr)
        return 1
    print(f"release {journal.current} is {journal.phase.value}")
    return 0
