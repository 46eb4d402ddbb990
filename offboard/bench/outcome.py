"""What finished cells of the benchmark measured: ``OUT/cells/PAIR/METHOD/SEED`` in memory."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from offboard.bench.score import (
    Array,
    area_under_curve,
    interquartile_mean,
    steps_to_threshold,
)
from offboard.run_dir import RunDir
from protocol.errors import StoreError

Switch = Literal["relabel", "ft", "scratch"]


class Result(msgspec.Struct, frozen=True):
    """``result.json`` of a cell. Returns are undiscounted sums of rewards over an episode.

    ``threshold`` is 80 % of the way from ``random_return`` to ``expert_return``, None where no
    expert could be trained; ``source_gain`` is what the source's expert earns above random actions
    at home; ``mismatch`` is what the run measured of source against target; ``switch`` is what it
    did about it.
    """

    pair: str
    method: str
    seed: int
    budget_steps: int
    zero_shot: float
    threshold: float | None
    expert_return: float
    source_steps: int
    wall_s: float
    random_return: float = 0.0
    source_gain: float = 0.0
    mismatch: dict[str, Any] | None = None
    switch: Switch | None = None
    uncertainty: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.span <= 0.0:
            raise ValueError("expert_return is not above random_return")

    @property
    def span(self) -> float:
        """From random to the target's expert; ``source_gain`` where there is no such expert."""
        if self.threshold is None:
            return self.source_gain
        return self.expert_return - self.random_return

    def scaled(self, returns: Array) -> Array:
        """0 at the random policy, 1 at the end of :attr:`span`."""
        return (returns - self.random_return) / self.span


class Evaluation(msgspec.Struct, frozen=True):
    """A line of ``metrics.jsonl``: the deterministic policy's mean return at a target step."""

    step: int
    episode_return: float


class Outcome(NamedTuple):
    """One finished cell: its result, its curve and the commit that made it."""

    result: Result
    curve: tuple[Evaluation, ...]
    commit: str


@dataclass(frozen=True)
class Curves:
    """One method on one pair, ``results`` in order of seed: steps (T,), returns (S, T)."""

    results: tuple[Result, ...]
    steps: Array
    returns: Array

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(result.seed for result in self.results)

    @property
    def budget(self) -> float:
        """Target steps at the last evaluation."""
        return float(self.steps[-1])

    @property
    def auc(self) -> Array:
        """Mean return over the budget (S,)."""
        return area_under_curve(self.steps, self.returns)

    @property
    def scaled_auc(self) -> Array:
        """The same with 0 at the random policy and 1 at the end of its ``span`` (S,)."""
        pairs = zip(self.results, self.auc, strict=True)
        return np.array([result.scaled(auc) for result, auc in pairs])

    @property
    def steps_to_threshold(self) -> Array:
        """Target steps until the threshold, infinity where it is not reached (S,)."""
        thresholds = np.array(
            [math.inf if r.threshold is None else r.threshold for r in self.results]
        )
        return steps_to_threshold(self.steps, self.returns, thresholds)

    @property
    def threshold(self) -> float | None:
        """Mean over the seeds, None if the target is not reachable."""
        levels = [r.threshold for r in self.results if r.threshold is not None]
        return float(np.mean(levels)) if levels else None

    @property
    def steps_iqm(self) -> float:
        """Interquartile mean of :attr:`steps_to_threshold`."""
        return float(interquartile_mean(self.steps_to_threshold))

    def only(self, seeds: Iterable[int]) -> Curves:
        """The curves of ``seeds``."""
        index = [self.seeds.index(seed) for seed in sorted(seeds)]
        return Curves(tuple(self.results[i] for i in index), self.steps, self.returns[index])


Grid = dict[tuple[str, str], Curves]
"""(pair, method) → its curves."""


def read_outcomes(out: Path) -> list[Outcome]:
    """Every finished cell below ``out``/cells, in order of path.

    Raises:
        StoreError: there is none, or one is damaged.
    """
    paths = sorted(path.parent for path in (out / "cells").glob("*/*/*/result.json"))
    if not paths:
        raise StoreError(f"{out / 'cells'} holds no finished cell; run the benchmark first")
    return [_read(path) for path in paths]


def gather(outcomes: Iterable[Outcome]) -> Grid:
    """Seeds of one method on one pair side by side.

    Raises:
        StoreError: seeds of one method were evaluated at different steps.
    """
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.result.seed):
        groups[outcome.result.pair, outcome.result.method].append(outcome)
    return {key: _side_by_side(group) for key, group in sorted(groups.items())}


def _side_by_side(group: list[Outcome]) -> Curves:
    grids = {tuple(point.step for point in outcome.curve) for outcome in group}
    first = group[0].result
    if len(grids) > 1:
        raise StoreError(
            f"seeds of {first.pair}/{first.method} were evaluated at different steps; "
            "remove those of another budget"
        )
    returns = [[point.episode_return for point in outcome.curve] for outcome in group]
    return Curves(
        tuple(outcome.result for outcome in group),
        np.array(grids.pop(), dtype=np.float64),
        np.array(returns, dtype=np.float64),
    )


def _read(path: Path) -> Outcome:
    run = RunDir(path)
    try:
        result = msgspec.convert(run.result, Result)
        rows = msgspec.convert(run.metrics(), list[Evaluation])
    except (msgspec.ValidationError, ValueError) as error:
        raise StoreError(f"{path}: {error}; remove the cell and run it again") from error
    by_step = {row.step: row for row in rows}  # a resumed cell may evaluate a step again
    curve = tuple(by_step[step] for step in sorted(by_step))
    if len(curve) < 2:
        raise StoreError(f"{path}: fewer than two evaluations; remove the cell and run it again")
    return Outcome(result, curve, run.made_by)
