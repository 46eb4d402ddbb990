"""Percentiles and ratios: of values that were kept, and of what a histogram counted in a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from onboard.control_api import Status, Summary
from onboard.timing import EDGES_US, summary_of

PER_MILLE = {"p50": 500, "p99": 990, "p999": 999, "max": 1000}
Json = dict[str, Any]


def percentiles(values: ArrayLike, *wanted: str) -> Json:
    """Of ``values`` (N,), the ``wanted`` ones of :data:`PER_MILLE`, by default all; null if N = 0.

    A percentile is a value that occurred: the smallest that at least its share does not exceed.
    """
    names = wanted or tuple(PER_MILLE)
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.size == 0:
        return dict.fromkeys(names)
    ranks = {name: -(-PER_MILLE[name] * ordered.size // 1000) for name in names}  # rounded up
    return {name: float(ordered[rank - 1]) for name, rank in ranks.items()}


def ratio(rounds: Mapping[str, Sequence[float]], ours: str, theirs: str) -> float:
    """Median over rounds of ``ours / theirs``; what disturbs a round disturbs both."""
    return median(a / b for a, b in zip(rounds[ours], rounds[theirs], strict=True))


def window(before: Status, after: Status) -> Json:
    """What the loop counted between two looks at it."""
    return {
        "ticks": after.ticks - before.ticks,
        "missed": after.missed_ticks - before.missed_ticks,
        "missed_near_swaps": after.missed_ticks_near_swaps - before.missed_ticks_near_swaps,
        "late": after.late_ticks - before.late_ticks,
        "bus_misses": after.bus_misses - before.bus_misses,
        "swaps": after.swaps - before.swaps,
        "rejected": after.rejected - before.rejected,
        "period_error_us": _added(
            before.period_error_histogram,
            after.period_error_histogram,
            before.period_error_us,
            after.period_error_us,
        ),
        "work_us": _added(
            before.work_histogram, after.work_histogram, before.work_us, after.work_us
        ),
    }


def _added(
    then: Sequence[int], now: Sequence[int], then_us: Summary, now_us: Summary
) -> dict[str, float]:
    """Percentiles of what came in between. The maximum is exact if it is the highest so far."""
    counts = [new - old for new, old in zip(now, then, strict=True)]
    longest_us = now_us.max if now_us.max > then_us.max else min(_highest_us(counts), then_us.max)
    found = summary_of(counts, longest_us)
    return {name: getattr(found, name) for name in PER_MILLE}


def _highest_us(counts: Sequence[int]) -> float:
    """Upper edge of the highest bucket that holds something."""
    held = [edge for edge, count in zip(EDGES_US, counts, strict=False) if count]
    return float("inf") if counts[len(EDGES_US)] else max(held, default=0.0)
