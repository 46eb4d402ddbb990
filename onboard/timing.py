"""How long things took: histograms of fixed size that a real-time loop can afford.

Adding a value is one binary search and one increment in an array that exists already: nothing is
allocated that outlives the call. Buckets are a geometric series, so a percentile is known to within
one bucket, i.e. 10 %, over six decades; the maximum is exact.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from onboard.control_api import Summary

RATIO = 1.1
FIRST_US = 1.0
LAST_US = 1e6


def bucket_edges_us() -> list[float]:
    """Upper edges: 1 µs, 1.1 µs … beyond 1 s. A last bucket without edge takes what is longer."""
    edges = [FIRST_US]
    while edges[-1] < LAST_US:
        edges.append(edges[-1] * RATIO)
    return edges


EDGES_US = bucket_edges_us()


class Histogram:
    """Counts of one quantity in microseconds, per bucket of :data:`EDGES_US`.

    Attributes:
        counts: values per bucket; a list of numbers would allocate each time one passes 256.
        max_us: the longest value.
        sum_us: of all values.
    """

    def __init__(self) -> None:
        self.counts = array("Q", bytes(8 * (len(EDGES_US) + 1)))
        self.max_us = self.sum_us = 0.0

    def add(self, value_us: float) -> None:
        """Count one value."""
        self.counts[bisect_right(EDGES_US, value_us)] += 1
        self.sum_us += value_us
        if value_us > self.max_us:  # noqa: PLR1730 - a call of max takes as long as all the rest
            self.max_us = value_us

    def summary(self) -> Summary:
        """Percentiles so far; safe to call from another thread."""
        return summary_of(list(self.counts), self.max_us)


def summary_of(counts: Sequence[int], longest_us: float) -> Summary:
    """Percentiles of counts per bucket, of which no value was above ``longest_us``."""
    return Summary(
        p50=percentile_us(counts, longest_us, 0.50),
        p99=percentile_us(counts, longest_us, 0.99),
        p999=percentile_us(counts, longest_us, 0.999),
        max=longest_us,
    )


def percentile_us(counts: Sequence[int], longest_us: float, share: float) -> float:
    """Upper edge of the bucket in which ``share`` of all values is reached; 0 without values."""
    wanted = share * sum(counts)
    seen = 0
    for edge, count in zip(EDGES_US, counts, strict=False):
        seen += count
        if seen >= wanted and seen > 0:
            return min(edge, longest_us)
    return longest_us
