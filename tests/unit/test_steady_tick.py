"""Does the steady tick ask the operating system for nothing, and wait for nobody? Over memory.

Two witnesses: the interpreter's audit events (PEP 578), which any open, socket, file lock, process
or import raises, and its profiler, which sees every call of a lock, a queue, a thread's start, a
file that is open already, and what prints or logs to one. What a compiled extension does inside a
call of its own neither of them sees.
"""

from __future__ import annotations

import _thread
import fcntl
import io
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_loop import Bench
from made_steady import steady_bench

from protocol.modes import Mode
from protocol.robot_spec import RobotSpec

Make = Callable[..., Path]
Deed = Callable[[], object]

AUDITED_TICKS, PROFILED_TICKS = 2_000, 500
LOCK, RE_LOCK, QUEUE = threading.Lock(), threading.RLock(), queue.SimpleQueue[int]()
WAITING = (type(LOCK), type(RE_LOCK), type(QUEUE), io.IOBase)
DEEDS = (_thread.start_new_thread, print, os.write, os.fsync, os.fdatasync, os.sync)


class Ear:
    """An audit hook. There is no way to remove one, so it can be told not to listen.

    Attributes:
        heard: events of the thread that listens.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._thread = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._thread == threading.get_ident():
            self.heard.append(event)

    def listen(self, deed: Deed, times: int = 1) -> list[str]:
        """What ``deed``, done so often, raises."""
        self.heard.clear()
        self._thread = threading.get_ident()
        try:
            for _ in range(times):
                deed()
        finally:
            self._thread = 0
        return list(self.heard)


def others(deed: Deed, times: int = 1) -> list[str]:
    """Methods of locks, queues and files, and DEEDS, that ``deed``, done so often, calls."""
    found: list[str] = []

    def note(frame: types.FrameType, event: str, called: object) -> None:
        if event != "c_call":
            return
        if called in DEEDS or isinstance(getattr(called, "__self__", None), WAITING):
            found.append(str(getattr(called, "__qualname__", called)))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for _ in range(times):
            deed()
    finally:
        sys.setprofile(before)
    return found


@pytest.fixture(scope="module")
def ear() -> Ear:
    ear = Ear()
    sys.addaudithook(ear)
    return ear


@pytest.fixture
def steady(furuta: RobotSpec, make_bundle: Make, tmp_path: Path) -> Iterator[Bench]:
    bench = steady_bench(furuta, make_bundle, tmp_path)
    bench.run(10)  # what is imported or made once
    yield bench
    assert bench.mode is Mode.RUN
    bench.close()


def test_two_thousand_ticks_ask_the_operating_system_for_nothing(steady: Bench, ear: Ear) -> None:
    ticks = steady.control.counters.ticks
    assert ear.listen(lambda: steady.run(1), AUDITED_TICKS) == []
    assert steady.control.counters.ticks == ticks + AUDITED_TICKS


def test_a_tick_takes_no_lock_asks_no_queue_starts_no_thread_and_writes_nothing(
    steady: Bench,
) -> None:
    assert others(lambda: steady.run(1), PROFILED_TICKS) == []


def open_and_lock() -> None:
    with open(os.devnull) as file:
        fcntl.flock(file, fcntl.LOCK_SH)


@pytest.mark.parametrize(
    ("deed", "event"),
    [
        (open_and_lock, "open"),
        (open_and_lock, "fcntl.flock"),
        (lambda: os.listdir("/"), "os.listdir"),
        (lambda: socket.socket().close(), "socket.__new__"),
        (lambda: subprocess.run(["true"], check=True), "subprocess.Popen"),
    ],
)
def test_a_tick_that_did_would_be_heard(ear: Ear, deed: Deed, event: str) -> None:
    assert event in ear.listen(deed)
    heard = list(ear.heard)
    deed()
    assert ear.heard == heard  # it has stopped listening


def hold() -> None:
    with LOCK:
        pass


@pytest.mark.parametrize(
    "deed",
    [hold, LOCK.locked, lambda: QUEUE.put(1), lambda: _thread.start_new_thread(int, ())],
)
def test_a_tick_that_waited_or_started_a_thread_would_be_seen(deed: Deed) -> None:
    assert len(others(deed)) == 1


def journal(file: io.TextIOBase) -> None:
    file.write("x")
    file.flush()


def test_a_tick_that_wrote_or_logged_would_be_seen(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        log = logging.Logger("tick")
        log.addHandler(logging.StreamHandler(file))
        assert others(lambda: journal(file)) != []
        assert others(lambda: print("x", file=file)) != []
        assert others(lambda: log.warning("x")) != []
        assert others(lambda: os.fsync(file.fileno())) != []
        assert others(lambda: os.write(file.fileno(), b"x")) != []
