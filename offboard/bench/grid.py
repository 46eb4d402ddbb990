"""Many cells side by side; an interrupted grid is taken up again."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offboard.bench.cell import Cell, run_cell
from offboard.bench.expert import EXPERT_SEED, reference_of
from offboard.bench.pairs import Pair
from offboard.bench.source import source_of
from offboard.bench.switching import FORCED, OURS
from offboard.workers import Pool
from protocol.errors import WombetError


@dataclass(frozen=True)
class Job:
    """A piece of work that may begin once those it ``needs`` are over."""

    name: str
    work: Callable[..., object]
    subject: tuple[Any, ...]
    needs: frozenset[str] = frozenset()
    is_cell: bool = False


@dataclass(frozen=True)
class Done:
    """One finished piece of work; ``error`` says why it gave nothing."""

    what: str
    is_cell: bool
    error: str | None = None


def run_grid(cells: list[Cell], out: Path, pool: Pool) -> Iterator[Done]:
    """Sources, experts and cells, as many at once as ``pool`` takes; yields as they finish.

    A piece of work that fails is reported and does not stop the others.
    """
    yield from run_jobs(jobs(cells), out, pool)


def run_jobs(work: list[Job], out: Path, pool: Pool) -> Iterator[Done]:
    """Each once what it needs is over; ``out`` is the last argument of all."""
    waiting, over, out = list(work), set[str](), out.resolve()
    running: dict[Future[str | None], Job] = {}
    while waiting or running:
        for job in ready(waiting, over)[: pool.slots - len(running)]:
            waiting.remove(job)
            running[pool.submit(reported, job.work, (*job.subject, out))] = job
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            over.add(job.name)
            yield Done(job.name, job.is_cell, _outcome(future))


def jobs(cells: list[Cell]) -> list[Job]:
    """Everything that ``cells`` need, then they, in the order in which to begin.

    A cell that may turn out to be ours under another name waits for ours.
    """
    names = {cell_name(cell) for cell in cells}
    return [*needed(cells), *(_cell_job(cell, names) for cell in cells)]


def needed(cells: list[Cell]) -> list[Job]:
    """Sources, those that take longest first, and experts."""
    pairs = {cell.pair.name: cell.pair for cell in cells}
    wanted = {_source_name(pair, EXPERT_SEED): (pair, EXPERT_SEED) for pair in pairs.values()}
    wanted |= {_source_name(cell.pair, cell.seed): (cell.pair, cell.seed) for cell in cells}
    sources = [Job(name, source_of, subject) for name, subject in wanted.items()]
    sources.sort(key=lambda job: -job.subject[0].recipe.source.env_steps)
    experts = [
        Job(_expert_name(pair), reference_of, (pair,), frozenset({_source_name(pair, EXPERT_SEED)}))
        for pair in pairs.values()
    ]
    return [*sources, *experts]


def ready(waiting: list[Job], over: set[str]) -> list[Job]:
    """Those that may begin, in order."""
    return [job for job in waiting if job.needs <= over]


def _cell_job(cell: Cell, names: set[str]) -> Job:
    needs = {_source_name(cell.pair, cell.seed), _expert_name(cell.pair)}
    if cell.method == FORCED:
        needs |= {cell_name(Cell(cell.pair, OURS, cell.seed))} & names
    return Job(cell_name(cell), run_cell, (cell,), frozenset(needs), is_cell=True)


def _source_name(pair: Pair, seed: int) -> str:
    return f"source {pair.family} {seed}"


def _expert_name(pair: Pair) -> str:
    return f"expert {pair.name}"


def _outcome(future: Future[str | None]) -> str | None:
    """What went wrong; losing one's worker is a way to go wrong too."""
    try:
        return future.result()
    except WombetError as error:
        return str(error)


def cell_name(cell: Cell) -> str:
    """What the progress bar and failures call it."""
    return f"{cell.pair.name} {cell.method} {cell.seed}"


def reported(work: Callable[..., object], arguments: tuple[Any, ...]) -> str | None:
    """Errors cross processes as text: an exception may not be made again on the other side.

    One that nobody foresaw is a fault of this one piece of work; it is told where it happened.
    """
    try:
        work(*arguments)
    except WombetError as error:
        return str(error)
    except Exception:
        return traceback.format_exc()
    return None
