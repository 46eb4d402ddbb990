"""Does a log that nobody takes hold up nobody?"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing

import pytest

from onboard import journal as journal_module
from onboard.journal import Journal

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


def test_every_line_is_written_before_it_closes(pipe: Pipe) -> None:
    reader, writer = pipe
    lines = deque(["one", "two ü"])
    with closing(Journal(lines, writer, "control").open()):
        lines.append("three")
    assert os.read(reader, 4096).decode() == "control: one\ncontrol: two ü\ncontrol: three\n"


def test_a_reader_that_is_gone_is_ignored(pipe: Pipe) -> None:
    reader, writer = pipe
    lines = deque(["one", "two"])
    gone = os.dup(reader)
    os.dup2(os.open(os.devnull, os.O_RDONLY), reader)
    os.close(gone)
    with closing(Journal(lines, writer, "control").open()):
        pass
    assert not lines


def test_a_reader_that_is_stuck_is_left_behind(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) if hasattr(fcntl, "F_GETPIPE_SZ") else 1 << 16
    assert os.write(writer, bytes(size)) == size
    os.set_blocking(writer, True)
    monkeypatch.setattr(journal_module, "LAST_WORDS_S", 0.05)
    journal = Journal(deque(["stuck"]), writer, "control").open()
    journal.close()
    assert journal._thread is not None
    assert journal._thread.is_alive()
    os.read(reader, size)  # it takes again: the thread ends
    journal._thread.join(5)
    assert not journal._thread.is_alive()
