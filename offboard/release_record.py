"""What robots say of their releases, kept: one line in the run directory for each change.

Units that fetch by themselves tell nobody else. ``fleet status`` enters the lines into the fleet's
log. The present state is in every report and in ``status.json``; only the history lies here, and no
robot can make it long.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from offboard.durable_file import sync_directory
from offboard.release_changes import Changes, Heard
from protocol.errors import StoreError
from protocol.messages import Release, Report

RELEASES_FILE = "releases.jsonl"


class ReleaseRecord:
    """The file; one thread hears, another writes."""

    def __init__(self, run: Path, clock_s: Callable[[], float] = time.time) -> None:
        """``clock_s`` is Unix time."""
        self._path, self._clock_s = run / RELEASES_FILE, clock_s
        self._changes = Changes()
        self._pending: list[Heard] = []
        self._lock = threading.Lock()

    def recall(self) -> None:
        """Know what was written before this start, so that it is not written again.

        Raises:
            StoreError: the file cannot be read, or lines of it cannot; the others are known.
        """
        lines, damaged = read_lines(self._path)
        self._changes = Changes(lines)
        if damaged:
            raise StoreError(f"{self._path}: line {damaged[0]} is damaged and passed over")

    def heard(self, robot: str, report: Report) -> None:
        """A report has come. Never raises."""
        if report.release is UNSET:
            return
        with self._lock:
            line = self._changes.heard(robot, _printable(report.release), self._clock_s())
            if line is not None:
                self._pending.append(line)

    def write(self) -> None:
        """Make durable what is new. Raises StoreError; then the next call tries again."""
        with self._lock:
            lines = [*self._pending]
        if lines:
            _append(self._path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            with self._lock:
                del self._pending[: len(lines)]

    def unwritten(self, robot: str) -> int:
        """Changes of ``robot`` since its last line that were too many to be written."""
        return self._changes.unwritten(robot)


def lines_of(run: Path) -> list[Heard]:
    """What robots said in a run of ``serve``, oldest first; nothing if none had anything to say.

    Raises:
        StoreError: it is no such run, or its record is damaged.
    """
    if not (run / "config.json").is_file():
        raise StoreError(f"{run} is no run of serve; name the --out that serve was given")
    lines, damaged = read_lines(run / RELEASES_FILE)
    if damaged:
        raise StoreError(
            f"{run / RELEASES_FILE}: line {damaged[0]} is damaged; keep a copy, take that line "
            "out, and ask again: every line stands by itself"
        )
    return lines


def read_lines(path: Path) -> tuple[list[Heard], list[int]]:
    """The lines, oldest first, and the numbers of those that are damaged; none without a file.

    A last line that is still being written is left out. Raises StoreError.
    """
    try:
        written = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    lines, damaged = [], []
    for number, line in enumerate(written, 1):
        try:
            lines.append(msgspec.json.decode(line, type=Heard))
        except (msgspec.DecodeError, UnicodeDecodeError):
            damaged.append(number)
    return lines, damaged


def _printable(said: Release) -> Release:
    """What a robot says is shown in terminals."""
    reason = "".join(each if each.isprintable() else " " for each in said.reason)
    return said if reason == said.reason else replace(said, reason=reason)


def _append(path: Path, data: bytes) -> None:
    """Durably, all of ``data`` or nothing of it, after the last whole line. Raises StoreError."""
    try:
        with path.open("a+b", buffering=0) as file:
            file.seek(0)
            end = file.read().rfind(b"\n") + 1
            file.truncate(end)
            try:
                if file.write(data) != len(data):
                    raise OSError("no space for a whole line")
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error})") from error
