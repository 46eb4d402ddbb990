"""One lane: cores, network and robot file of its own, and cells one after another."""

from __future__ import annotations

import ctypes
import fcntl
import os
import queue
import re
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from offboard.bench.cell import Cell
from offboard.bench.grid import reported
from offboard.bench.live import ENDPOINT, run_live_cell
from offboard.bench.pairs import LIVE

ROBOT = Path("hw_configs/furuta.toml")
CORES = 2
_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def run_lane(number: int, todo: Any, out: Path, end: float) -> None:
    """Cells, as long as there are any and time to begin one; exits with how many failed."""
    cores = sorted(os.sched_getaffinity(0))[CORES * number : CORES * (number + 1)]
    withdraw(cores)
    failed = 0
    while time.monotonic() < end:
        try:
            method, seed = todo.get(timeout=1.0)
        except queue.Empty:
            break
        began = time.monotonic()
        error = reported(run_live_cell, (Cell(LIVE, method, seed), out, ENDPOINT))
        failed += error is not None
        say(f"lane {number}: {method} {seed}: {error or 'done'}, {time.monotonic() - began:.0f} s")
    sys.exit(failed)


def withdraw(cores: list[int]) -> None:
    """To ``cores``, an empty network and a robot that keeps time on the first of them."""
    os.sched_setaffinity(0, cores)
    _call("unshare", _CLONE_NEWNET | _CLONE_NEWNS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", _IFF_UP, b""))
    own = Path(tempfile.mkdtemp(prefix="wombet-lane-"), ROBOT.name)
    text = ROBOT.read_text(encoding="utf-8")
    text, changed = re.subn(r"(?m)^cpu = \d+", f"cpu = {cores[0]}", text)
    if changed != 1:
        raise RuntimeError(f"{ROBOT}: no line 'cpu = …' to change")
    own.write_text(text, encoding="utf-8")
    _mount("none", "/", _MS_REC | _MS_PRIVATE)
    _mount(str(own), str(ROBOT.resolve()), _MS_BIND)


def _mount(source: str, target: str, flags: int) -> None:
    _call("mount", source.encode(), target.encode(), b"none", flags, None)


def _call(name: str, *arguments: Any) -> None:
    if ctypes.CDLL(None, use_errno=True)[name](*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name} {arguments}")


def say(what: str) -> None:
    """What is going on, for whoever waits."""
    print(f"lanes: {what}", file=sys.stderr, flush=True)
