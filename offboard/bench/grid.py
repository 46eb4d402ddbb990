"""Many cells on several processes; an interrupted grid is taken up again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from offboard.bench.cell import Cell, run_cell
from offboard.bench.expert import EXPERT_SEED, reference_of
from offboard.bench.pairs import PAIRS, Pair, pair_named
from offboard.bench.source import source_of
from protocol.errors import WombetError


@dataclass(frozen=True)
class Selection:
    """A subset of the benchmark; empty means every default pair, or a pair's own methods."""

    pairs: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    full: bool = False

    def cells(self) -> list[Cell]:
        """In an order that gives every pair some seeds before any gets all."""
        chosen = [pair_named(name) for name in self.pairs] or [
            pair for pair in PAIRS if pair.default or self.full
        ]
        ranked = [
            (seed, Cell(pair, method, seed))
            for pair in chosen
            for seed in range(self.seeds or pair.seeds)
            for method in self.methods or pair.methods
        ]
        return [cell for _, cell in sorted(ranked, key=lambda item: item[0])]


@dataclass(frozen=True)
class Done:
    """One finished piece of work; ``error`` says why it gave nothing."""

    what: str
    is_cell: bool
    error: str | None = None


def run_grid(cells: list[Cell], out: Path, processes: int) -> Iterator[Done]:
    """Sources, then experts, then cells, each on its own process; yields as they finish.

    A cell that fails is reported and does not stop the others.
    """
    sources = {(cell.pair.family, cell.seed): cell.pair for cell in cells}
    experts = {cell.pair.name: cell.pair for cell in cells}
    for pair in experts.values():
        if pair.expert_from == "source":
            sources.setdefault((pair.family, EXPERT_SEED), pair)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from _drain(
            (f"source {family} {seed}", pool.submit(_source, pair, seed, out))
            for (family, seed), pair in sources.items()
        )
        yield from _drain(
            (f"expert {name}", pool.submit(_expert, pair, out)) for name, pair in experts.items()
        )
        yield from _drain(
            (
                (f"{cell.pair.name} {cell.method} {cell.seed}", pool.submit(_cell, cell, out))
                for cell in cells
            ),
            are_cells=True,
        )


def _drain(work: Iterable[tuple[str, Any]], are_cells: bool = False) -> Iterator[Done]:
    named = {future: what for what, future in work}
    for future in as_completed(named):
        yield Done(named[future], are_cells, future.result())


def _source(pair: Pair, seed: int, out: Path) -> str | None:
    return _reported(lambda: source_of(pair, seed, out))


def _expert(pair: Pair, out: Path) -> str | None:
    return _reported(lambda: reference_of(pair, out))


def _cell(cell: Cell, out: Path) -> str | None:
    return _reported(lambda: run_cell(cell, out))


def _reported(work: Any) -> str | None:
    """Errors cross processes as text: an exception may not be made again on the other side."""
    try:
        work()
    except WombetError as error:
        return str(error)
    return None
