"""What the gated method's cells claim of their own models, pair by pair.

A lower bound counts only where a cell claimed one (a finite λ that passed its own check); coverage
where none was claimed says nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from offboard.bench.outcome import Grid
from offboard.bench.switching import OURS

Json = dict[str, Any]

_OF_THE_BOUND = {"coverage_measured", "tightness"}


def uncertainty(grid: Grid) -> Json:
    """The ``uncertainty`` entry of ``transfer.json``: means over the seeds that measured it."""
    found = {}
    for (pair, method), curves in grid.items():
        measured = [r.uncertainty for r in curves.results if r.uncertainty is not None]
        if method == OURS and measured:
            found[pair] = _summary(measured)
    return found


def _summary(measured: list[Json]) -> Json:
    """Headline numbers, and the bounds by horizon."""
    claiming = [one for one in measured if _claims(one)]
    keys = dict.fromkeys(key for one in measured for key in one if key != "bounds")
    means = {
        key: _mean(one.get(key) for one in (claiming if key in _OF_THE_BOUND else measured))
        for key in keys
    }
    bounds = [bound for one in measured for bound in one.get("bounds", ())]
    return {
        **means,
        "seeds": len(measured),
        "claimed": len(claiming),
        "bounds": [_at(horizon, bounds) for horizon in sorted({b["horizon"] for b in bounds})],
    }


def _claims(one: Json) -> bool:
    """Whether a cell claims the bound of its headline."""
    headline = [b for b in one.get("bounds", ()) if b["horizon"] == one["horizon"]]
    return bool(headline) and headline[0]["penalty"] is not None


def _at(horizon: int, bounds: list[Json]) -> Json:
    """One horizon over the seeds."""
    here = [bound for bound in bounds if bound["horizon"] == horizon]
    claimed = [bound for bound in here if bound["penalty"] is not None]
    return {
        "horizon": horizon,
        "stated": _mean(bound["stated"] for bound in here),
        "coverage": _mean(bound["coverage"] for bound in claimed),
        "tightness": _mean(bound["tightness"] for bound in claimed),
        "claimed": len(claimed),
    }


def _mean(values: Iterable[Any]) -> float | None:
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers else None
