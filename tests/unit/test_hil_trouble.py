"""Faults of the runtime itself that overlap: the end of one does not end the other."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sim_harness.hil.faults import AnyFault, CpuHog, DiskFull, Freeze, ServerLost
from sim_harness.hil.trouble import Trouble

SLEEPER = ["sleep", "600"]


class Runtime:
    """Writes down what is done to it; its hogs are processes that wait."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.hogs: list[subprocess.Popen[bytes]] = []

    def signal(self, name: str, process: str, pid: int) -> None:
        self.done.append((name, process))

    def fill(self) -> None:
        self.done.append("full")

    def make_room(self) -> None:
        self.done.append("room")

    def hog(self, log: Any, processes: int, for_s: float) -> list[subprocess.Popen[bytes]]:
        started = [subprocess.Popen(SLEEPER) for _ in range(processes)]
        self.hogs += started
        return started

    @property
    def running(self) -> int:
        return sum(hog.poll() is None for hog in self.hogs)


class Listener:
    def __init__(self, done: list[Any]) -> None:
        self._done = done

    def open(self) -> None:
        self._done.append("open")

    def close(self) -> None:
        self._done.append("close")


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


@pytest.fixture
def trouble(runtime: Runtime, tmp_path: Path) -> Any:
    watch, listener = SimpleNamespace(control_pid=7), Listener(runtime.done)
    with (tmp_path / "log").open("wb") as log:
        made = Trouble(runtime, None, watch, listener, log, 5.0)  # type: ignore[arg-type]
        yield made
        made.release()


@pytest.mark.parametrize(
    ("first", "second", "begun", "over"),
    [
        (DiskFull(at_s=0.0), DiskFull(at_s=1.0), "full", "room"),
        (ServerLost(at_s=0.0), ServerLost(at_s=1.0), "close", "open"),
        (
            Freeze(process="agent", at_s=0.0),
            Freeze(process="agent", at_s=1.0),
            ("STOP", "agent"),
            ("CONT", "agent"),
        ),
    ],
)
def test_the_last_one_to_end_undoes_it(
    trouble: Trouble, runtime: Runtime, first: AnyFault, second: AnyFault, begun: Any, over: Any
) -> None:
    trouble.begin(first)
    trouble.begin(second)
    trouble.end(first)
    assert runtime.done == [begun, begun]
    trouble.end(second)
    assert runtime.done == [begun, begun, over]


def test_another_process_is_another_fault(trouble: Trouble, runtime: Runtime) -> None:
    agent, control = Freeze(process="agent", at_s=0.0), Freeze(process="control", at_s=0.0)
    for fault in (agent, control):
        trouble.begin(fault)
    trouble.end(agent)
    assert runtime.done[-1] == ("CONT", "agent")


def test_each_hog_ends_its_own_processes(trouble: Trouble, runtime: Runtime) -> None:
    few, many = CpuHog(processes=1, at_s=0.0), CpuHog(processes=2, at_s=0.0)
    trouble.begin(few)
    trouble.begin(many)
    trouble.end(few)
    assert runtime.running == 2
    trouble.release()
    assert runtime.running == 0
