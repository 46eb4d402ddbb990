"""Does the service manager hear ready, alive and stopping, as often as it asked?"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onboard.notify import Notifier, notifier_for

PERIOD_NS = 2_000_000_000


class Manager:
    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


def test_a_life_is_ready_alive_and_stopping(manager: Manager, tmp_path: Path) -> None:
    with closing(Notifier(str(tmp_path / "notify"), PERIOD_NS).open()) as notifier:
        assert manager.heard() == []
        notifier.kick(0)
        assert manager.heard() == [b"READY=1\nWATCHDOG=1"]
        for now_ns in range(0, PERIOD_NS, PERIOD_NS // 100):
            notifier.kick(now_ns)
        assert manager.heard() == [b"WATCHDOG=1"] * 3
    assert manager.heard() == [b"STOPPING=1"]


def test_without_a_watchdog_only_ready_is_said(manager: Manager, tmp_path: Path) -> None:
    with closing(Notifier(str(tmp_path / "notify"), 0).open()) as notifier:
        for now_ns in range(0, 10 * PERIOD_NS, PERIOD_NS):
            notifier.kick(now_ns)
        assert manager.heard() == [b"READY=1\nWATCHDOG=1"]


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux's")
def test_an_abstract_address_is_understood() -> None:
    name = f"wombet-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    try:
        with closing(Notifier(f"@{name}", 0).open()) as notifier:
            notifier.kick(0)
        assert manager.heard() == [b"READY=1\nWATCHDOG=1", b"STOPPING=1"]
    finally:
        manager.close()


def test_a_manager_that_is_gone_or_deaf_disturbs_nobody(manager: Manager, tmp_path: Path) -> None:
    with closing(Notifier(str(tmp_path / "nobody"), PERIOD_NS).open()) as notifier:
        notifier.kick(0)
    with closing(Notifier(str(tmp_path / "notify"), 4).open()) as notifier:
        for now_ns in range(5000):  # more than its queue holds
            notifier.kick(now_ns)
    assert len(manager.heard()) < 5000
    with closing(Notifier("", PERIOD_NS).open()) as nobody:
        nobody.kick(0)


@pytest.mark.parametrize(
    ("environment", "kicks"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "2000000"}, 4),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "42"}, 4),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "41"}, 1),
        ({"WATCHDOG_USEC": "soon"}, 1),
    ],
)
def test_the_environment_says_whom_and_how_often(
    manager: Manager, tmp_path: Path, environment: dict[str, str], kicks: int
) -> None:
    if environment:
        environment = {**environment, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with closing(notifier_for(environment, 42).open()) as notifier:
        for now_ns in range(0, PERIOD_NS, PERIOD_NS // 100):
            notifier.kick(now_ns)
        assert len(manager.heard()) == kicks
