"""The generated data and whether the model knows when it does not know. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from offboard.page.facts import Fact, Level, count, number, percent
from offboard.page.run_files import Generated, HeldOut, Run

BINS = 10
POINTS_MAX = 2_000
ORDERED, HARDLY = 0.5, 0.2
"""Rank correlations from which uncertainty is said to follow the error well, or at all."""


@dataclass(frozen=True)
class Plane:
    """Trajectories as (uncertainty, return), kept and dropped."""

    kept: tuple[tuple[float, float], ...]
    dropped: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Reliability:
    """Held-out steps in groups of equal size by uncertainty: what the model said, what was true.

    Attributes:
        uncertainty: mean of each group.
        median: of the squared errors in it.
        low: their 10 % quantile.
        high: their 90 % quantile.
        rank_correlation: Spearman's, over all steps.
    """

    uncertainty: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rank_correlation: float


def plane(generated: Generated) -> Plane:
    """The scatter; of very many every n-th."""
    every = max(1, -(-len(generated.kept) // POINTS_MAX))
    points = np.stack([generated.uncertainty, generated.returns], 1)[::every]
    kept = generated.kept[::every]
    return Plane(_pairs(points[kept]), _pairs(points[~kept]))


def reliability(held_out: HeldOut) -> Reliability | None:
    """Groups by uncertainty; None if there are fewer steps than groups."""
    order = np.argsort(held_out.uncertainty, kind="stable")
    if len(order) < BINS:
        return None
    groups = np.array_split(order, BINS)
    errors = [np.quantile(held_out.error[group], (0.1, 0.5, 0.9)) for group in groups]
    low, median, high = np.array(errors).T.tolist()
    return Reliability(
        tuple(float(held_out.uncertainty[group].mean()) for group in groups),
        tuple(median),
        tuple(low),
        tuple(high),
        _spearman(held_out),
    )


def generation(run: Run) -> tuple[Fact, ...]:
    """What was made and what was kept of it."""
    found = run.generate_result
    if not found:
        return ()
    made, kept = found.get("trajectories", 0), found.get("kept", 0)
    return (
        Fact("Generated", count(made, "trajectory", "trajectories"),
             "Imagined with the source's model, or acted out in its simulator."),
        Fact("Kept", f"{kept} ({percent(kept / made if made else None)})",
             "High return and low uncertainty, or needed to cover places that others leave out."),
        Fact("Mean return", _change(found, "return_mean"),
             "Of all that were generated, and of those that were kept."),
        Fact("Mean uncertainty", _change(found, "uncertainty_mean"),
             "How unsure the models were, over all generated and over the kept ones."),
        Fact("Places covered", percent(found.get("coverage")),
             "How much of what generation reached is still there after the filter."),
    )  # fmt: skip


def _change(found: dict[str, Any], name: str) -> str:
    return f"{number(found.get(f'{name}_all'))} → {number(found.get(f'{name}_kept'))}"


def honesty(run: Run) -> tuple[Fact, ...]:
    """Whether uncertainty can be believed."""
    found = None if run.held_out is None else reliability(run.held_out)
    facts = [] if found is None else [_order(found.rank_correlation)]
    bound = run.generate_result.get("bound")
    return (*facts, *(_bound(bound) if bound else ()))


def _order(correlation: float) -> Fact:
    verdict, level = "hardly follows the error", Level.LOOK
    if correlation >= ORDERED:
        verdict, level = "follows the error", Level.GOOD
    elif correlation >= HARDLY:
        verdict, level = "follows the error loosely", Level.PLAIN
    return Fact(
        "Uncertainty", f"{verdict} ({correlation:.2f})",
        "Rank correlation of uncertainty and true error on steps the model never saw: 1 is a "
        "perfect order, 0 is none.", level,
    )  # fmt: skip


def _bound(bound: dict[str, Any]) -> tuple[Fact, ...]:
    stated, measured = bound.get("stated"), bound.get("coverage")
    if bound.get("penalty") is None:
        reason = bound.get("reason") or "no reason given"
        return (Fact("Lower bound", f"none: {reason}", _BOUND_HINT, Level.LOOK),)
    short = measured is not None and stated is not None and measured < stated - 0.05
    return (
        Fact(
            "Lower bound held", f"{percent(measured)} of the time, {percent(stated)} promised",
            _BOUND_HINT, Level.LOOK if short else Level.GOOD,
        ),
        Fact("Penalty", number(bound.get("penalty")),
             "What one unit of uncertainty costs in planning, so that the bound holds."),
    )  # fmt: skip


_BOUND_HINT = (
    "Planned return less a penalty for uncertainty should lie below the true return; "
    "this was measured on fresh episodes of the source task."
)


def _spearman(held_out: HeldOut) -> float:
    if any(np.ptp(column) == 0.0 for column in held_out):
        return 0.0
    ranks = np.stack([np.argsort(np.argsort(column)) for column in held_out])
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _pairs(points: Any) -> tuple[tuple[float, float], ...]:
    return tuple((float(f"{x:.4g}"), float(f"{y:.4g}")) for x, y in points)
