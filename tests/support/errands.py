"""Work that a pool can be given: it names its worker, fails, or kills the process it is in."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol.errors import StoreError


def square(x: int) -> int:
    return x * x


def refuse(reason: str) -> None:
    raise StoreError(reason)


def my_process(_: int) -> int:
    return os.getpid()


def die_at_first(marks: Path, deaths: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """``work``, once ``deaths`` processes were killed trying; they sign in ``marks``."""
    signed = len(list(marks.iterdir()))
    if signed < deaths:
        (marks / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(*arguments)


def wait_at(signed: Path, gate: Path, x: int) -> int:
    """Sign, anew each time; wait until the gate is open; answer."""
    (signed / uuid.uuid4().hex).touch()
    wait_until(gate.exists, 200.0)
    return x * x


def wait_until(true: Callable[[], bool], limit_s: float) -> None:
    """Raises TimeoutError."""
    until_s = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > until_s:
            raise TimeoutError(f"not within {limit_s} s")
        time.sleep(0.05)
