"""Child processes with a log and a set of processors each; none outlives the block."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

GRACE_S = 20.0
Found = TypeVar("Found")


class Cores(NamedTuple):
    """Who runs where: the loop's core, and the rest; the same one if there is no other."""

    loop: int
    others: frozenset[int]

    @property
    def both(self) -> frozenset[int]:
        """Every processor."""
        return self.others | {self.loop}


def share_out(loop: int, allowed: set[int]) -> Cores:
    """The processors of this machine, seen from a loop on ``loop``."""
    return Cores(loop, frozenset(allowed - {loop} or allowed))


def until(found: Callable[[], Found | None], what: str, within_s: float) -> Found:
    """What ``found`` finds, asked again until it does. Raises TimeoutError naming ``what``."""
    deadline_s = time.monotonic() + within_s
    while not (value := found()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {within_s:.0f} s")
        time.sleep(0.02)
    return value


class Crew:
    """Starts programs, ends them all."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, python: Sequence[object], cpus: frozenset[int]) -> int:
        """Run Python with the arguments ``python`` on ``cpus``; its process id."""
        argv = [*on(cpus), sys.executable, *map(str, python)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self._logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        self._running[name] = child
        return child.pid

    def check(self) -> None:
        """Raises RuntimeError if one of them has ended."""
        for name, child in self._running.items():
            if child.poll() is not None:
                log = self._logs / f"{name}.log"
                raise RuntimeError(f"{name} ended with status {child.returncode}; see {log}")

    def stop(self, name: str) -> int:
        """SIGTERM, then SIGKILL after a grace time; the exit status."""
        child = self._running.pop(name)
        child.terminate()
        try:
            return child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def __enter__(self) -> Crew:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for name in reversed([*self._running]):
            self.stop(name)


def on(cpus: frozenset[int]) -> list[str]:
    """What to write before a command so that it runs on ``cpus`` only."""
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(cpus)))]
