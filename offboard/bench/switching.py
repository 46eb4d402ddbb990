"""Does what a run measures of source against target foretell whether old data will help it?

Benefit of a cell (pair, seed) = scaled area under the curve with old data forced in, less that of
plain fine-tuning. Mismatch and switch are what the gated method measured and did on that seed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from offboard.bench.outcome import Curves, Grid, Result, Switch
from offboard.bench.score import PERCENTILES
from offboard.statistics import spearman

OURS, FORCED, FINE_TUNED, SCRATCH = "ours", "ours_always", "ft", "scratch"
METHOD_OF: dict[Switch, str] = {"relabel": FORCED, "ft": FINE_TUNED, "scratch": SCRATCH}

RESAMPLES = 1_000
PAIRS_FOR_AN_INTERVAL = 3


@dataclass(frozen=True)
class Decision:
    """One cell: scaled areas by switch where that method ran, the mismatch and the switch taken."""

    pair: str
    seed: int
    auc: dict[Switch, float]
    mismatch: dict[str, float]
    taken: Switch | None

    @property
    def benefit(self) -> float:
        """Of forcing old data in, in shares of the way from random to expert."""
        return self.auc["relabel"] - self.auc["ft"]

    @property
    def better(self) -> Switch:
        """The switch whose method had the larger area."""
        return max(self.auc, key=lambda switch: self.auc[switch])

    @property
    def regret(self) -> float | None:
        """Area given away by the switch taken; None if none was, or its method did not run."""
        if self.taken is None or self.taken not in self.auc:
            return None
        return self.auc[self.better] - self.auc[self.taken]


def decisions(grid: Grid) -> list[Decision]:
    """Every cell in which ours, old data forced, and plain fine-tuning all ran."""
    found = []
    for pair in sorted({pair for pair, _ in grid}):
        areas = {
            switch: _by_seed(grid[pair, method])
            for switch, method in METHOD_OF.items()
            if (pair, method) in grid
        }
        gated = grid.get((pair, OURS))
        if gated is not None and {"relabel", "ft"} <= areas.keys():
            found += [_decision(result, areas) for result in gated.results if _ran(result, areas)]
    return found


def switching(cells: list[Decision], rng: np.random.Generator) -> dict[str, Any]:
    """The ``gate`` entry of ``transfer.json``; ``regret_mean`` is in scaled return."""
    regrets = [cell.regret for cell in cells if cell.regret is not None]
    agreed = sum(regret <= 0.0 for regret in regrets)
    return {
        "cells": len(cells),
        "spearman": {key: _foretelling(cells, key, rng) for key in _measures(cells)},
        "decided": len(regrets),
        "agreement": agreed / len(regrets) if regrets else None,
        "regret_mean": float(np.mean(regrets)) if regrets else None,
        "rows": [_row(cell) for cell in cells],
    }


def _by_seed(curves: Curves) -> dict[int, float]:
    return dict(zip(curves.seeds, curves.scaled_auc.tolist(), strict=True))


def _ran(result: Result, areas: dict[Switch, dict[int, float]]) -> bool:
    return result.seed in areas["relabel"] and result.seed in areas["ft"]


def _decision(result: Result, areas: dict[Switch, dict[int, float]]) -> Decision:
    auc = {switch: area[result.seed] for switch, area in areas.items() if result.seed in area}
    measured = (result.mismatch or {}).items()
    numbers = {key: float(value) for key, value in measured if isinstance(value, int | float)}
    return Decision(result.pair, result.seed, auc, numbers, result.switch)


def _measures(cells: list[Decision]) -> list[str]:
    return sorted({key for cell in cells for key in cell.mismatch})


def _foretelling(cells: list[Decision], key: str, rng: np.random.Generator) -> dict[str, Any]:
    """ρ of mismatch ``key`` with benefit; whole pairs are drawn, for their seeds are alike."""
    by_pair: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for cell in cells:
        if key in cell.mismatch:
            by_pair[cell.pair].append((cell.mismatch[key], cell.benefit))
    pairs = [np.array(points) for points in by_pair.values()]
    P = len(pairs)
    draws = [_rho([pairs[i] for i in index]) for index in rng.integers(P, size=(RESAMPLES, P))]
    sound = [rho for rho in draws if not math.isnan(rho)]
    told = P >= PAIRS_FOR_AN_INTERVAL and sound
    ci95 = np.percentile(sound, PERCENTILES).tolist() if told else None
    return {"value": _rho(pairs), "ci95": ci95, "cells": sum(len(points) for points in pairs)}


def _rho(pairs: list[NDArray[np.float64]]) -> float:
    """Of points (N, 2) of all ``pairs`` together."""
    x, y = torch.from_numpy(np.concatenate(pairs)).unbind(1)
    return spearman(x, y)


def _row(cell: Decision) -> dict[str, Any]:
    return {
        "pair": cell.pair,
        "seed": cell.seed,
        "benefit": cell.benefit,
        "mismatch": cell.mismatch,
        "taken": cell.taken,
        "better": cell.better,
    }
