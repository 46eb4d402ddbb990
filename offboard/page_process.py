"""The live page beside a server: a process of its own, whose failure costs nobody a record."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from offboard.page.key import make_key
from offboard.page.main import announce, listening
from protocol.errors import ConfigError, StoreError

LOG_FILE = "page.log"
GRACE_S = 5.0


@contextmanager
def page_beside(run: Path, port: int, console: Console) -> Iterator[None]:
    """A page for ``run`` on loopback while the block lasts; none with ``port`` 0.

    Whatever happens to it, the block goes on; what it had to say lies in ``RUN/page.log``.
    """
    child = _start(run, port, console) if port else None
    try:
        yield
    finally:
        if child is not None:
            _end(child)


def _start(run: Path, port: int, console: Console) -> subprocess.Popen[bytes] | None:
    """The page, or None where it cannot even be started."""
    if find_spec("nicegui") is None:
        console.print("no live page: pip install -r requirements/page.txt", highlight=False)
        return None
    try:
        with listening(port):
            key = make_key(run)
        announce(run, port, key, console)
        return _spawned(run, port)
    except (OSError, ConfigError, StoreError) as error:
        console.print(f"no live page: {error}", markup=False, highlight=False)
        return None


def _spawned(run: Path, port: int) -> subprocess.Popen[bytes]:
    arguments = ("--run", str(run), "--port", str(port), "--parent", str(os.getpid()))
    with (run / LOG_FILE).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "offboard.page.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
