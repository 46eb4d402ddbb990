"""What a running robot uses, against what it may: the gate before a release reaches the field.

Two looks at control, agent and their files, some seconds apart; everything judged is a difference
between them. Source: openpilot's test_onroad, as an idea (RUNTIME.md § 1.1 e).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from onboard.control_api import Status
from onboard.timing import percentile_us
from protocol.errors import WireError
from protocol.robot_spec import Budget

_MB, _KB = 1e6, 1e3


class Usage(NamedTuple):
    """Of one process so far: processor time, and memory it holds now."""

    cpu_s: float
    resident_bytes: int


class Look(NamedTuple):
    """A robot at one moment.

    Attributes:
        status: of control.
        control: its process.
        agent: the agent's, if it runs.
        log_bytes: in all logs and flight files.
    """

    status: Status
    control: Usage
    agent: Usage | None
    log_bytes: int


class Measure(NamedTuple):
    """One measured quantity and its limit.

    Attributes:
        name: of the limit in the ``[budget]`` table.
        value: measured; NaN if it could not be.
        limit: highest that is allowed; for a name with ``min`` in it, lowest.
    """

    name: str
    value: float
    limit: float

    @property
    def kept(self) -> bool:
        """Whether the limit is kept; a value that is not known keeps none."""
        if "_min_" in self.name:
            return self.value >= self.limit
        return self.value <= self.limit


def measures(before: Look, after: Look, limits: Budget) -> list[Measure]:
    """Every limit with what was measured, in the order of the table.

    Raises:
        WireError: control was restarted between the looks.
    """
    if after.status.pid != before.status.pid or after.status.ticks < before.status.ticks:
        raise WireError("control was restarted while it was measured")
    found = {**dict(_loop(before.status, after.status)), **dict(_processes(before, after))}
    return [Measure(name, found[name], getattr(limits, name)) for name in limits.__struct_fields__]


def usage_of(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """What process ``pid`` uses; None if it does not run (Linux)."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        statm = (proc / str(pid) / "statm").read_text(encoding="ascii")
    except OSError:
        return None
    user, system = stat.rpartition(")")[2].split()[11:13]  # fields 14 and 15 of proc(5)
    cpu_s = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return Usage(cpu_s, int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE"))


def size_of(folders: Sequence[Path]) -> int:
    """Bytes of all files in ``folders``; those that are missing hold none."""
    return sum(
        path.stat().st_size for folder in folders for path in folder.glob("*") if path.is_file()
    )


def _loop(before: Status, after: Status) -> Iterator[tuple[str, float]]:
    """What the control loop says of itself."""
    elapsed_s = (after.at_ns - before.at_ns) * 1e-9
    ticks = after.ticks - before.ticks
    missed = after.missed_ticks - before.missed_ticks
    yield "rate_min_share", ticks / (elapsed_s * after.control_hz)
    yield "missed_max_share", missed / max(ticks + missed, 1)
    for name, now, then in (
        (
            "period_error_p99_max_us",
            after.period_error_histogram,
            before.period_error_histogram,
        ),
        ("tick_work_p99_max_us", after.work_histogram, before.work_histogram),
    ):
        counts = [new - old for new, old in zip(now, then, strict=True)]
        yield name, percentile_us(counts, math.inf, 0.99)


def _processes(before: Look, after: Look) -> Iterator[tuple[str, float]]:
    """What the operating system says of the processes."""
    elapsed_s = (after.status.at_ns - before.status.at_ns) * 1e-9
    growth_mb = []
    for name in ("control", "agent"):
        then, now = getattr(before, name), getattr(after, name)
        known = then is not None and now is not None
        yield f"{name}_cpu_max_share", (now.cpu_s - then.cpu_s) / elapsed_s if known else math.nan
        growth_mb.append((now.resident_bytes - then.resident_bytes) / _MB if known else math.nan)
    yield "memory_growth_max_mb", (math.nan if any(map(math.isnan, growth_mb)) else max(growth_mb))
    yield "log_growth_max_kb_s", max(0, after.log_bytes - before.log_bytes) / elapsed_s / _KB
