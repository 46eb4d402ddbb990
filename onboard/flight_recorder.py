"""The flight recorder's outside: what lies in its memory becomes a file, once, when it matters.

That is when the robot latches FAULT or ESTOP, when the loop ends by an error nobody expected, when
a start finds the memory of a control that was killed, and whenever somebody asks. A thread or
another process does it, never a tick.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from onboard.control_api import StateChange
from onboard.durable import write_bytes
from onboard.flight_file import encode_flight
from onboard.flight_ring import Flight, read_flight
from onboard.recorder import flight_dtype
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec

REMEMBERED_S = 30.0
KEPT_FILES = 16
LEAST_FREE_BYTES = 64 << 20
POLL_S = 0.1
LAST_WORDS_S = 10.0

_LATCHED = {Mode.FAULT.name, Mode.ESTOP.name}


def flight_capacity(spec: RobotSpec) -> int:
    """Rows of the memory for ``REMEMBERED_S``; one is always being written."""
    return math.ceil(REMEMBERED_S * spec.control_hz) + 1


class Cause(NamedTuple):
    """Why a flight is kept: one word for the file's name, and the reason."""

    word: str
    reason: str


class Shelf:
    """A directory of flight files that cannot fill the disk: it holds the newest few."""

    def __init__(
        self,
        directory: Path,
        free_bytes: Callable[[Path], int] = lambda at: shutil.disk_usage(at).free,
    ) -> None:
        self._directory, self._free_bytes = directory, free_bytes

    def put(self, name: str, data: bytes) -> Path:
        """Keep a file whole; the oldest beyond ``KEPT_FILES`` go.

        Raises:
            StoreError: there is no room, or the file system refused.
        """
        path = self._directory / name
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            free = self._free_bytes(self._directory)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written ({error})") from error
        if free < LEAST_FREE_BYTES + len(data):
            raise StoreError(f"{path}: not written, {free >> 20} MiB are free; make room")
        write_bytes(path, data)
        for old in sorted(self._directory.glob("*.mcap"))[:-KEPT_FILES]:
            with suppress(OSError):
                old.unlink()
        return path


class Dumper:
    """Turns the memory of one robot into files."""

    def __init__(self, spec: RobotSpec, task: str, memory: Path, shelf: Shelf) -> None:
        self._spec, self._task, self._memory, self._shelf = spec, task, memory, shelf

    def read(self) -> Flight | None:
        """What the memory holds; None if there is none. Raises StoreError."""
        return read_flight(self._memory, flight_dtype(self._spec))

    def dump(self, cause: Cause) -> Path | None:
        """Write what is remembered now; None if nothing is. Raises StoreError."""
        flight = self.read()
        return None if flight is None else self.write(flight, cause)

    def write(self, flight: Flight, cause: Cause) -> Path | None:
        """Write one file; None for a flight without ticks. Raises StoreError."""
        if len(flight.rows) == 0:
            return None
        name = f"{flight.life:06d}-{int(flight.rows['tick'][-1]):010d}-{cause.word}.mcap"
        return self._shelf.put(
            name, encode_flight(self._spec, flight.rows, self._facts(flight, cause))
        )

    def _facts(self, flight: Flight, cause: Cause) -> dict[str, str]:
        return {
            "cause": cause.word,
            "reason": cause.reason,
            "robot": self._spec.name,
            "robot_digest": self._spec.digest(),
            "task": self._task,
            "life": str(flight.life),
            "software": _version(),
            "unix_minus_monotonic_ns": str(time.time_ns() - time.monotonic_ns()),
        }


class FlightRecorder:
    """Watches the loop's changes of mode and keeps the flight that led to a latched one."""

    def __init__(
        self, dumper: Dumper, changes: deque[StateChange], say: Callable[[str], None]
    ) -> None:
        self._dumper, self._changes, self._say = dumper, changes, say
        self._seen = 0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def salvage(self) -> None:
        """Keep what a control that did not end in good order has left; before a new one records."""
        try:
            flight = self._dumper.read()
        except StoreError as error:
            self._say(f"flight recorder: {error}")
            return
        if flight is not None and not flight.ended:
            self._try(lambda: self._dumper.write(flight, Cause("killed", "control was killed")))

    def open(self, prepare: Callable[[], None] = lambda: None) -> FlightRecorder:
        """Start to watch; the thread calls ``prepare`` first."""

        def watch() -> None:
            prepare()
            while not self._closing.wait(POLL_S):
                self.step()

        self._thread = threading.Thread(target=watch, name="flight-recorder", daemon=True)
        self._thread.start()
        return self

    def step(self) -> None:
        """Keep a flight for every latched mode entered since the last call."""
        for change in self._changes.copy():
            if change.number <= self._seen:
                continue
            self._seen = change.number
            if change.new in _LATCHED and change.old not in _LATCHED:
                self.keep(Cause(change.new.lower(), change.reason))

    def keep(self, cause: Cause) -> None:
        """Write a file now, and say where it lies or why there is none."""
        self._try(lambda: self._dumper.dump(cause))

    def close(self) -> None:
        """Stop watching; what latched meanwhile is still kept."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(LAST_WORDS_S)
            self._thread = None
        self.step()

    def _try(self, write: Callable[[], Path | None]) -> None:
        try:
            path = write()
        except StoreError as error:
            self._say(f"flight recorder: {error}")
        else:
            if path is not None:
                self._say(f"flight recorder: {path}")


def _version() -> str:
    try:
        return version("wombet")
    except PackageNotFoundError:
        return "a source tree"
