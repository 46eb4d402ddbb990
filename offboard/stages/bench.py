"""``wombet-offboard bench``: methods against each other on pairs of tasks, and what it comes to."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from offboard.bench.cell import Cell
from offboard.bench.grid import Done, run_grid
from offboard.bench.html import write_report
from offboard.bench.live import ENDPOINT
from offboard.bench.live_grid import run_live_grid
from offboard.bench.pairs import LIVE
from offboard.bench.plan import Selection
from offboard.bench.speed import measure_speed
from offboard.durable_file import write_durably
from offboard.progress import bar
from offboard.run_dir import to_json
from offboard.workers import workers
from protocol.errors import StoreError


@dataclass(frozen=True)
class BenchConfig:
    """Which cells, on how many processes; finished ones are not run again.

    Attributes:
        processes: cells side by side.
        speed_s: how long the speed benchmark runs altogether; 0 leaves it out.
        endpoint: where the server of a cell in real time listens, tcp://ADDRESS:PORT.
        ray: cluster for what is in lock-step: auto, or its address; by default --processes here.
    """

    select: Selection = field(default_factory=Selection)
    processes: int = 2
    speed_s: float = 60.0
    endpoint: str = ENDPOINT
    ray: str | None = None


def run_bench(config: BenchConfig, out: Path) -> list[str]:
    """Run what is missing, then write ``transfer.json`` and ``report.html``; returns what failed.

    Raises:
        ConfigError: no such pair or method.
        StoreError: ``out`` cannot be written, or no cell finished.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out} cannot be made ({error.strerror}); choose another") from error
    speed = out / "speed.json"
    if config.speed_s > 0.0 and not speed.exists():
        write_durably(speed, to_json(measure_speed(config.speed_s)))
    failed = _run(config, out)
    try:
        write_report(out)
    except StoreError as error:
        raise StoreError("\n".join([str(error), *failed])) from error
    return failed


def _run(config: BenchConfig, out: Path) -> list[str]:
    cells, failed, count = config.select.cells(), [], 0
    with bar("cells", len(cells)) as progress:
        for done in _finished(cells, config, out):
            count += done.is_cell
            failed += _failure(done)
            progress(count, done.what)
    return failed


def _finished(cells: list[Cell], config: BenchConfig, out: Path) -> Iterator[Done]:
    """In lock-step first, all at once; then what runs in real time, alone."""
    with workers(config.processes, config.ray) as pool:
        yield from run_grid([cell for cell in cells if cell.pair != LIVE], out, pool)
        if live := [cell for cell in cells if cell.pair == LIVE]:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that robots are stopped
            yield from run_live_grid(live, out, pool, config.endpoint)


def _failure(done: Done) -> list[str]:
    return [] if done.error is None else [f"{done.what}: {done.error}"]
