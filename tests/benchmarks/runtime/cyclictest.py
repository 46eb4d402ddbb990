"""``cyclictest`` of rt-tests: what this machine does to a C program that only wakes and sleeps.

It runs before and after the loop and not beside it: two threads of one FIFO priority on one core
wait for each other, and that would make cyclictest's maximum, the loop's own yardstick, longer.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runtime.crew import Cores, on


class Latency(NamedTuple):
    """Of ``cycles`` wake-ups, in microseconds."""

    cycles: int
    avg_us: float
    max_us: float


def measure(rate_hz: int, seconds: float, priority: int, cores: Cores, folder: Path) -> Latency:
    """Wake ``rate_hz`` times a second on the loop's core.

    Raises:
        RuntimeError: it is not installed, or not allowed what it needs.
    """
    if shutil.which("cyclictest") is None:
        raise RuntimeError("cyclictest is not installed: apt install rt-tests")
    report = folder / "cyclictest.json"
    cycles = max(10, round(rate_hz * seconds))
    argv = [*on(cores.both), *_command(rate_hz, cycles, priority, cores, report)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"cyclictest: {(done.stderr or done.stdout).strip()[:200]}")
    return parsed(report.read_text(encoding="utf-8"))


def parsed(report: str) -> Latency:
    """From its JSON report."""
    (thread,) = json.loads(report)["thread"].values()
    return Latency(int(thread["cycles"]), float(thread["avg"]), float(thread["max"]))


def combined(parts: Sequence[Latency]) -> Latency:
    """Of several measurements one."""
    cycles = sum(part.cycles for part in parts)
    total_us = sum(part.cycles * part.avg_us for part in parts)
    return Latency(cycles, total_us / cycles, max(part.max_us for part in parts))


def _command(rate_hz: int, cycles: int, priority: int, cores: Cores, report: Path) -> list[str]:
    """``--default-system``: the loop does not keep processors from sleeping either."""
    options = {
        "policy": "fifo",
        "priority": priority,
        "affinity": cores.loop,
        "threads": 1,
        "interval": round(1e6 / rate_hz),
        "loops": cycles,
        "json": report,
    }
    flags = ["--quiet", "--mlockall", "--default-system"]
    return ["cyclictest", *flags, *(f"--{name}={value}" for name, value in options.items())]
