"""Live cells, one after another: what they need may be made side by side, they may not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from offboard.bench.cell import Cell
from offboard.bench.grid import Done, cell_name, needed, reported, run_jobs
from offboard.bench.live import run_live_cell
from offboard.bench.pairs import lock_step_of
from offboard.workers import Pool


def run_live_grid(cells: list[Cell], out: Path, pool: Pool, endpoint: str) -> Iterator[Done]:
    """Sources and experts in ``pool``, then the cells in this process; yields as they finish.

    A cell that fails is reported and does not stop the others.
    """
    twins = [replace(cell, pair=lock_step_of(cell.pair)) for cell in cells]
    yield from run_jobs(needed(twins), out, pool)
    for cell in cells:
        error = reported(run_live_cell, (cell, out, endpoint))
        yield Done(cell_name(cell), is_cell=True, error=error)
