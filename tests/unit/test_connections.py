"""Which connections are cut, over real sockets and a clock that the test turns."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from offboard.connections import Connections, Limits

LIMITS = Limits(silent=3, silent_s=10.0, unread_bytes=10_000)


class Bench:
    """A listener whose accepted ends are watched, as ZeroMQ's would be."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.now_s = 0.0
        self.connections = Connections(LIMITS, lambda: self.now_s)
        self.far: list[socket.socket] = []
        self.near: list[socket.socket] = []

    def dial(self) -> int:
        """A connection, accepted and announced; its number."""
        self.far.append(self._stack.enter_context(socket.create_connection(self.address)))
        near, _ = self._listener.accept()
        self.near.append(self._stack.enter_context(near))
        self.connections.opened(near.fileno())
        return len(self.near) - 1

    @property
    def address(self) -> tuple[str, int]:
        return self._listener.getsockname()

    def is_cut(self, number: int) -> bool:
        self.far[number].setblocking(False)
        try:
            return self.far[number].recv(1) == b""
        except BlockingIOError:
            return False

    def send(self, number: int, size: int) -> None:
        """``size`` bytes, which the near end takes, so that the kernel has counted them."""
        self.far[number].sendall(bytes(size))
        taken = 0
        while taken < size:
            taken += len(self.near[number].recv(1 << 16))


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def test_those_within_the_limits_are_left_alone(bench):
    numbers = [bench.dial() for _ in range(3)]
    assert not bench.connections.enforce()
    assert not any(map(bench.is_cut, numbers))


def test_of_a_silent_crowd_the_oldest_go(bench):
    for number in range(5):
        bench.now_s = float(number)
        bench.dial()
    assert bench.connections.enforce() == {"too many connections that say nothing": 2}
    assert [bench.is_cut(number) for number in range(5)] == [True, True, False, False, False]


def test_those_that_were_heard_are_no_crowd(bench):
    for _ in range(5):
        bench.connections.heard(bench.near[bench.dial()].fileno())
    assert not bench.connections.enforce()
    assert len(bench.connections) == 5


def test_silence_has_an_end(bench):
    silent, heard = bench.dial(), bench.dial()
    bench.connections.heard(bench.near[heard].fileno())
    bench.now_s = 10.5
    assert bench.connections.enforce() == {"connection that said nothing": 1}
    assert (bench.is_cut(silent), bench.is_cut(heard)) == (True, False)


def test_bytes_without_a_message_have_a_limit_heard_before_or_not(bench):
    for heard in (False, True):
        number = bench.dial()
        bench.send(number, 9_000)
        if heard:
            bench.connections.heard(bench.near[number].fileno())
            bench.connections.enforce()
            bench.send(number, 10_000)
        assert not bench.connections.enforce()
        bench.send(number, 1_001)
        assert bench.connections.enforce() == {"message without an end": 1}
        assert bench.is_cut(number)


def test_one_that_has_closed_is_forgotten(bench):
    number = bench.dial()
    bench.connections.closed(bench.near[number].fileno())
    assert len(bench.connections) == 0
    bench.now_s = 100.0
    assert not bench.connections.enforce()


def test_another_connection_with_the_same_descriptor_is_not_cut(bench):
    """Its end was not announced yet when the descriptor was given to the next one."""
    number = bench.dial()
    fd = bench.near[number].fileno()
    other = bench.far[number]
    spare = socket.create_connection(bench.address)
    with spare:
        os.dup2(spare.fileno(), fd)
    bench.now_s = 100.0
    assert not bench.connections.enforce()
    assert other.fileno() >= 0
    assert len(bench.connections) == 0


def test_a_descriptor_that_is_no_socket_any_more_harms_nobody(bench, tmp_path: Path):
    number = bench.dial()
    fd = bench.near[number].fileno()
    with (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), fd)
        bench.now_s = 100.0
        assert not bench.connections.enforce()
        bench.connections.heard(fd)
        bench.connections.opened(fd)
    assert len(bench.connections) == 0
