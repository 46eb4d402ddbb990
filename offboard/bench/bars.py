"""The bars of the benchmark, each with its figure and whether it is met.

``met`` is None where nothing that would decide it has run. An infinite figure reads null: ours did
not get there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from offboard.bench.outcome import Curves, Grid
from offboard.bench.score import interquartile_mean
from offboard.bench.switching import FINE_TUNED, OURS, SCRATCH

Json = dict[str, Any]

HOPELESS = ("cheetah_inverted",)
"""Pairs where letting go is the right answer: no old data can halve the steps of SAC."""

LETTING_GO = (*HOPELESS, "furuta_gap_4")

FLAGSHIP, FLAGSHIP_LOCK_STEP = "furuta_live", "furuta"
"""The flagship in the real-time loop, and the same pair in lock-step simulation."""


def bars(document: Json, grid: Grid, sac: Sequence[str]) -> Json:
    """Every bar that data below one output directory can decide.

    Args:
        document: the rest of ``transfer.json``.
        grid: the curves it was made from.
        sac: methods that count as SAC from scratch.
    """
    return {
        "steps_against_sac": _against_sac(grid, sac),
        "auc_against_ft": _against_ft(document["versus_ft"]),
        "flagship": _flagship(grid, FLAGSHIP),
        "flagship_lock_step": _flagship(grid, FLAGSHIP_LOCK_STEP),
        "letting_go": _letting_go(grid),
        "gate_agreement": _at_least(0.8, document["gate"]["agreement"]),
        "spearman_source": _spearman(document["uncertainty"]),
        "coverage": _coverage(document["uncertainty"]),
        **_speed(document["speed"] or {}),
    }


def _bar(wanted: str, figure: Any, met: bool | None, **more: Any) -> Json:
    return {"wanted": wanted, "figure": figure, "met": met, **more}


def _at_least(least: float, figure: float | None) -> Json:
    return _bar(f"≥ {least:g}", figure, None if figure is None else figure >= least)


def _all(verdicts: Iterable[bool]) -> bool | None:
    """Whether all hold; None if there are none."""
    found = list(verdicts)
    return all(found) if found else None


def _against_sac(grid: Grid, sac: Sequence[str]) -> Json:
    """Ours over SAC's steps to the threshold, on every pair where SAC gets there.

    Where only ours gets there the ratio is ``at_most`` that to the budget, which SAC would exceed.
    """
    ratios, at_most = {}, {}
    for (pair, method), ours in grid.items():
        rivals = [grid[pair, m] for m in sac if (pair, m) in grid]
        theirs = min((rival.steps_iqm for rival in rivals), default=0.0)
        if method == OURS and 0.0 < theirs < math.inf:
            ratios[pair] = ours.steps_iqm / theirs
        elif method == OURS and rivals and ours.steps_iqm < theirs:
            at_most[pair] = ours.steps_iqm / longest(rivals)
    return _bar(
        "≤ 0.5 on every pair that SAC learns",
        ratios,
        _within(0.5, ratios, at_most),
        at_most=at_most,
        met_hopeless_aside=_within(0.5, *map(_hopeful, (ratios, at_most))),
        goal="≤ 0.25",
        goal_met=_within(0.25, ratios, at_most),
    )


def longest(rivals: Sequence[Curves]) -> float:
    """Target steps of the one with the largest budget."""
    return max(rival.budget for rival in rivals)


def _within(limit: float, ratios: Json, at_most: Json) -> bool | None:
    """Whether all are; a bound above the limit leaves it open."""
    if any(ratio > limit for ratio in ratios.values()):
        return False
    bounds = [bound <= limit for bound in at_most.values()]
    return True if all(bounds) and (ratios or bounds) else None


def _hopeful(figures: Json) -> Json:
    return {pair: figure for pair, figure in figures.items() if pair not in HOPELESS}


def _against_ft(versus_ft: Json) -> Json:
    """Better where the difference's interval lies above zero, worse below 95 % of its area."""
    better = [pair for pair, v in versus_ft.items() if (v["difference_ci95"] or (0.0,))[0] > 0.0]
    worse = [pair for pair, v in versus_ft.items() if _much_worse(v)]
    return _bar(
        "better on half of the pairs or more, worse by more than 5 % on none",
        {"pairs": len(versus_ft), "better": better, "worse": worse},
        2 * len(better) >= len(versus_ft) and not worse if versus_ft else None,
    )


def _much_worse(versus: Json) -> bool:
    if versus["auc_ratio"] is None:
        return bool(versus["difference"] < -0.05)
    return bool(versus["auc_ratio"] < 0.95)


def _flagship(grid: Grid, pair: str) -> Json:
    """Seeds worth 90 % of the expert after 2,000 target steps; an earlier peak does not count."""
    wanted = "8 of 10 seeds have 90 % of the expert after 2,000 steps"
    ours = grid.get((pair, OURS))
    if ours is None:
        return _bar(wanted, None, None)
    level = 0.9 * np.array([result.expert_return for result in ours.results])
    there = ours.returns[:, ours.steps <= 2_000][:, -1]
    reached, seeds = int((there >= level).sum()), len(ours.seeds)
    met = reached >= 0.8 * seeds if seeds >= 10 else None
    return _bar(wanted, {"reached": reached, "seeds": seeds}, met)


def _letting_go(grid: Grid) -> Json:
    """Ours against the better of fine-tuning and scratch, in steps and in area."""
    rivals = (FINE_TUNED, SCRATCH)
    figures = {
        pair: _against_better(grid[pair, OURS], [grid[pair, method] for method in rivals])
        for pair in LETTING_GO
        if all((pair, method) in grid for method in (OURS, *rivals))
    }
    return _bar(
        "≤ 1.1 × the steps of the better of ft and scratch; where neither it nor ours reaches the "
        "threshold, ≥ 0.95 × the better one's area",
        figures,
        _all(_let_go(one) for one in figures.values()),
    )


def _against_better(ours: Curves, rivals: list[Curves]) -> Json:
    """Ratios to the fewer steps (infinite: only ours does not arrive) and to the larger area."""
    fewest = min(curves.steps_iqm for curves in rivals)
    largest = max(float(interquartile_mean(curves.scaled_auc)) for curves in rivals)
    area = float(interquartile_mean(ours.scaled_auc))
    arrives = min(fewest, ours.steps_iqm) < math.inf
    return {
        "steps": ours.steps_iqm / fewest if arrives and fewest > 0.0 else None,
        "area": area / largest if largest > 0.0 else None,
        "area_difference": area - largest,
    }


def _let_go(figure: Json) -> bool:
    """By steps where somebody arrives, else by area; by its difference where there is no ratio."""
    if figure["steps"] is not None:
        return bool(figure["steps"] <= 1.1)
    if figure["area"] is not None:
        return bool(figure["area"] >= 0.95)
    return bool(figure["area_difference"] >= -0.05)


def _spearman(uncertainty: Json) -> Json:
    measured = {pair: one.get("spearman_source") for pair, one in uncertainty.items()}
    figures = {pair: rho for pair, rho in measured.items() if rho is not None}
    return _bar("≥ 0.5 on every pair", figures, _all(rho >= 0.5 for rho in figures.values()))


def _coverage(uncertainty: Json) -> Json:
    """Measured less stated coverage at each horizon where a bound is claimed."""
    figures = {
        pair: {b["horizon"]: b["coverage"] - b["stated"] for b in one["bounds"] if b["claimed"]}
        for pair, one in uncertainty.items()
    }
    gaps = [gap for claimed in figures.values() for gap in claimed.values()]
    return _bar("within 0.03", figures, _all(abs(gap) <= 0.03 for gap in gaps))


def _speed(speed: Json) -> Json:
    same = speed.get("deterministic")
    return {
        "speed_64": _at_least(4.0, speed.get("ratio_64")),
        "speed_256": _at_least(1.4, speed.get("ratio_256")),
        "determinism": _bar("the same first 1,000 updates", same, same),
    }
