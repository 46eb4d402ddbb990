"""``transfer.json``: every finished cell of a benchmark run as scores, ratios and verdicts."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from offboard.bench.bars import bars, longest
from offboard.bench.claims import uncertainty
from offboard.bench.outcome import Curves, Grid, Outcome, gather, read_outcomes
from offboard.bench.score import (
    Estimate,
    estimate,
    interquartile_mean,
    mean_of_seeds,
    paired_difference,
    paired_ratio,
    probability_of_improvement,
)
from offboard.bench.switching import FINE_TUNED, OURS, SCRATCH, decisions, switching
from offboard.durable_file import write_durably
from offboard.run_dir import commit, to_json
from protocol.errors import StoreError

Json = dict[str, Any]

SAC = (SCRATCH, "scratch_long", "sb3_sac")
"""Our SAC from scratch, the same for longer, and stable-baselines3's: ours is held against the
fastest."""

_UNREACHABLE = (
    "no threshold and no ratio: even the reference expert earns less above random actions than a "
    "fifth of what the source's expert earns at home; judged by area alone"
)

SEEDS_TO_QUOTE = 5
BOOTSTRAP_SEED = 0


def write_transfer(out: Path) -> Json:
    """Score what is finished below ``out`` and write ``out``/transfer.json.

    Raises:
        StoreError: there is no finished cell, one is damaged, or the disk refuses.
    """
    outcomes = read_outcomes(out)
    document = transfer(gather(outcomes), _speed(out), machine(), commit(), _history(outcomes))
    write_durably(out / "transfer.json", to_json(document))
    return document


def transfer(
    grid: Grid, speed: Json | None, machine: Json, commit: str, notes: Iterable[str] = ()
) -> Json:
    """The document. Pure; the bootstrap draws the same seeds each time.

    Args:
        grid: the curves.
        speed: what ``measure_speed`` found, or None.
        machine: where this runs.
        commit: of the code that scores.
        notes: what else a reader must know.
    """
    pairs = sorted({pair for pair, _ in grid})
    ratios = {pair: _steps_ratio(grid, pair) for pair in pairs}
    document: Json = {
        "cells": [_cell(curves) for curves in grid.values()],
        "ratios": {pair: ratio for pair, (ratio, _) in ratios.items()},
        "versus_ft": {
            pair: versus(grid[pair, OURS], grid[pair, FINE_TUNED])
            for pair in pairs
            if _comparable(grid, pair)
        },
        "improvement": _improvement(grid),
        "uncertainty": uncertainty(grid),
        "gate": switching(decisions(grid), _rng()),
        "speed": speed,
        "machine": machine,
        "commit": commit,
        "notes": [
            *notes,
            *(f"{pair}: {why}" for pair, (_, why) in ratios.items() if why),
            *_not_compared(grid),
            *_few_seeds(grid),
        ],
    }
    return {**document, "bars": bars(document, grid, SAC)}


def versus(ours: Curves, theirs: Curves) -> Json:
    """Areas under the curve of the seeds both have; difference and ratio of scaled returns."""
    seeds = set(ours.seeds) & set(theirs.seeds)
    a, b = ours.only(seeds).scaled_auc, theirs.only(seeds).scaled_auc
    ratio = paired_ratio(a, b, _rng())
    difference = paired_difference(a, b, _rng())
    improvement = probability_of_improvement([(a, b)], _rng())
    return {
        "auc_ratio": None if ratio is None else ratio.value,
        "ci95": None if ratio is None else ratio.ci95,
        "difference": difference.value,
        "difference_ci95": difference.ci95,
        "improvement": improvement.value,
        "improvement_ci95": improvement.ci95,
        "seeds": len(seeds),
    }


def machine() -> Json:
    """Processor, cores and PyTorch of this machine."""
    return {"cpu": _processor(), "cores": os.cpu_count(), "torch": torch.__version__}


def _cell(curves: Curves) -> Json:
    results, final = curves.results, curves.returns[:, -1]
    at_end, area = _iqm(final), _iqm(curves.auc)
    return {
        "pair": results[0].pair,
        "method": results[0].method,
        "seeds": len(results),
        "seed_list": list(curves.seeds),
        "budget_steps": int(curves.budget),
        "zero_shot": float(interquartile_mean(np.array([r.zero_shot for r in results]))),
        "return_iqm": at_end.value,
        "return_ci95": at_end.ci95,
        "auc_iqm": area.value,
        "auc_ci95": area.ci95,
        "steps_to_threshold_iqm": curves.steps_iqm if math.isfinite(curves.steps_iqm) else None,
        "reached": int(np.isfinite(curves.steps_to_threshold).sum()),
        "threshold": curves.threshold,
        "expert_return": float(np.mean([r.expert_return for r in results])),
        "wall_s": float(np.mean([r.wall_s for r in results])),
        "source_steps": round(np.mean([r.source_steps for r in results])),
    }


def _iqm(scores: np.ndarray[Any, np.dtype[np.float64]]) -> Estimate:
    return estimate(mean_of_seeds, [scores], _rng())


def _steps_ratio(grid: Grid, pair: str) -> tuple[float | None, str | None]:
    """Ours over SAC's steps to the threshold, or why there is no such number."""
    rivals = [grid[pair, method] for method in SAC if (pair, method) in grid]
    ours = grid.get((pair, OURS))
    if ours is None or not rivals:
        return None, f"no ratio, {OURS if ours is None else 'SAC'} did not run"
    if ours.threshold is None:
        return None, _UNREACHABLE
    sac = min(rivals, key=lambda curves: curves.steps_iqm)
    if math.isinf(ours.steps_iqm):
        return None, f"no ratio, {OURS} did not reach the threshold in {ours.budget:.0f} steps"
    if math.isinf(sac.steps_iqm):
        return None, (
            f"no ratio, SAC did not reach the threshold in {longest(rivals):.0f} steps; "
            f"{OURS} needed {ours.steps_iqm:.0f}"
        )
    if sac.steps_iqm == 0.0:
        return None, "no ratio, the threshold is met before the first step"
    return ours.steps_iqm / sac.steps_iqm, None


def _comparable(grid: Grid, pair: str) -> bool:
    """Whether ours and plain fine-tuning share seeds and budget, and have an area to compare.

    A run in the real-time loop is judged before and after: two points are no curve.
    """
    ours, theirs = grid.get((pair, OURS)), grid.get((pair, FINE_TUNED))
    if ours is None or theirs is None or ours.steps.size <= 2:
        return False
    return ours.budget == theirs.budget and bool(set(ours.seeds) & set(theirs.seeds))


def _not_compared(grid: Grid) -> list[str]:
    return [
        f"{pair}: {OURS} and {FINE_TUNED} share no seed, not the budget or no curve, "
        "areas are not compared"
        for pair in sorted({pair for pair, _ in grid})
        if {(pair, OURS), (pair, FINE_TUNED)} <= grid.keys() and not _comparable(grid, pair)
    ]


def _improvement(grid: Grid) -> Json:
    """Probability that a run of ours has more area than one of each other method, over pairs."""
    found = {}
    for rival in sorted({method for _, method in grid} - {OURS}):
        both = [
            (curves.scaled_auc, grid[pair, rival].scaled_auc)
            for (pair, method), curves in grid.items()
            if method == OURS and (pair, rival) in grid
        ]
        if both:
            value, ci95 = probability_of_improvement(both, _rng())
            found[rival] = {"value": value, "ci95": ci95, "pairs": len(both)}
    return found


def _few_seeds(grid: Grid) -> list[str]:
    return [
        f"{pair}/{method}: {len(curves.seeds)} seeds, a quoted number needs {SEEDS_TO_QUOTE}"
        for (pair, method), curves in grid.items()
        if len(curves.seeds) < SEEDS_TO_QUOTE
    ]


def _history(outcomes: list[Outcome]) -> list[str]:
    commits = sorted({outcome.commit for outcome in outcomes})
    return [f"cells come from several commits: {', '.join(commits)}"] if len(commits) > 1 else []


def _speed(out: Path) -> Json | None:
    path = out / "speed.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Json)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{path}: {error}; measure the speed again") from error


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _rng() -> np.random.Generator:
    """A fresh stream for every interval: one cell more must not move another's."""
    return np.random.default_rng(BOOTSTRAP_SEED)
