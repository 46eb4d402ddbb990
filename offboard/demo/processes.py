"""The demo's child processes: started by name, watched, and always stopped."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from protocol.errors import WombetError

GRACE_S = 15.0


class ProcessError(WombetError):
    """A child process died, refused or took too long."""


class ProcessTimeoutError(ProcessError):
    """The children live, but what was waited for did not come."""


def script(name: str) -> str:
    """Path of one of our console scripts, from the environment that runs this one."""
    return str(Path(sys.executable).with_name(name))


def call(*arguments: str) -> None:
    """Run a stage in the foreground, its progress on this terminal. Raises ProcessError."""
    code = subprocess.run([script(arguments[0]), *arguments[1:]], check=False).returncode
    if code:
        raise ProcessError(f"{' '.join(arguments[:2])} ended with status {code}")


def ask(*arguments: str, timeout_s: float = 30.0) -> dict[str, Any] | None:
    """JSON that a command prints, or None if it could not answer."""
    with contextlib.suppress(subprocess.TimeoutExpired, json.JSONDecodeError):
        done = subprocess.run(
            [script(arguments[0]), *arguments[1:]],
            capture_output=True, text=True, check=False, timeout=timeout_s,
        )  # fmt: skip
        if done.returncode == 0:
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer
    return None


class Family:
    """Child processes with a log file each."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Start ``arguments`` in the background; output goes to ``logs/name.log``."""
        with (self._logs / f"{name}.log").open("wb") as log:
            self._children[name] = subprocess.Popen(
                [script(arguments[0]), *arguments[1:]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def check(self) -> None:
        """Raises ProcessError if one of them has ended."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ProcessError(f"{name} died with status {child.returncode}{self._tail(name)}")

    def wait_for(self, what: str, ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll ``ready`` while all children live. Raises ProcessError on death or time-out."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessTimeoutError(f"{what}: not within {timeout_s:.0f} s; see {self._logs}")
            time.sleep(0.1)

    def stop(self, name: str) -> int:
        """SIGTERM, then SIGKILL after a grace time; the exit status."""
        child = self._children.pop(name)
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
        return child.wait()

    def _tail(self, name: str) -> str:
        lines = (self._logs / f"{name}.log").read_text(errors="replace").splitlines()[-5:]
        return "".join(f"\n  {line}" for line in lines)


@contextlib.contextmanager
def family(logs: Path) -> Iterator[Family]:
    """A family none of whose members outlives the block."""
    logs.mkdir(parents=True, exist_ok=True)
    children = Family(logs)
    try:
        yield children
    finally:
        for name in reversed([*children._children]):
            children.stop(name)
