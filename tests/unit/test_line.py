"""A line whose device goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onboard.line import REVIVE_S, Line
from protocol.errors import BusError, LineLostError


class Cable:
    """One opening of a device; echoes until it is pulled."""

    def __init__(self) -> None:
        self.pulled, self.closed, self._echo = False, False, b""

    def write(self, data: bytes) -> None:
        self._check()
        self._echo += data

    def read(self, timeout_s: float) -> bytes:
        self._check()
        data, self._echo = self._echo, b""
        return data

    def discard_input(self) -> None:
        self._check()
        self._echo = b""

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.pulled:
            raise LineLostError("hung up")


class Bytes:
    """Every byte is a frame."""

    def reset(self) -> None:
        pass

    def feed(self, data: bytes) -> list[int]:
        return [*data]


class Socket:
    """Where the cable goes in.

    Attributes:
        cables: every opening that worked.
        tries: all of them.
    """

    def __init__(self) -> None:
        self.cables: list[Cable] = []
        self.tries, self.empty = 0, False

    def open(self) -> Cable:
        self.tries += 1
        if self.empty:
            raise BusError("no such device")
        self.cables.append(Cable())
        return self.cables[-1]


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(socket: Socket, clock: Clock) -> Line[int]:
    line = Line(socket.open, clock, Bytes())
    line.open()
    return line


def pull(line: Line[int], socket: Socket) -> None:
    socket.cables[-1].pulled = True
    with pytest.raises(LineLostError):
        line.ask(b"a", 1, 0.01)


def test_a_line_that_works_is_left_alone(line: Line[int], socket: Socket) -> None:
    assert line.ask(b"ab", 2, 0.01) == [97, 98]
    line.revive()
    assert socket.tries == 1


def test_a_lost_one_is_taken_anew_where_it_is_there_again(line: Line[int], socket: Socket) -> None:
    pull(line, socket)
    line.revive()
    assert socket.cables[0].closed
    assert line.ask(b"c", 1, 0.01) == [99]
    line.revive()
    assert socket.tries == 2, "it works again"


def test_one_that_stays_away_is_tried_for_now_and_then(
    line: Line[int], socket: Socket, clock: Clock
) -> None:
    socket.empty = True
    pull(line, socket)
    for _ in range(10):
        line.revive()
        clock.now_s += 0.4 * REVIVE_S
    assert socket.tries == 1 + 4
    with pytest.raises(BusError, match="is the cable in"):
        line.ask(b"d", 1, 0.01)
    line.overtake(b"e")  # never raises
    socket.empty = False
    clock.now_s += REVIVE_S
    line.revive()
    assert line.ask(b"f", 1, 0.01) == [102]


def test_a_line_that_was_never_had_is_not_tried_for(socket: Socket, clock: Clock) -> None:
    make: Callable[[], Cable] = socket.open
    line = Line(make, clock, Bytes())
    line.revive()
    assert socket.tries == 0
    with pytest.raises(BusError, match="not connected"):
        line.ask(b"a", 1, 0.01)
