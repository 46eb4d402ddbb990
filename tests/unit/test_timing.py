"""Do the histograms' percentiles agree with the exact ones to within a bucket?"""

from __future__ import annotations

import numpy as np
import pytest

from onboard.timing import EDGES_US, RATIO, Histogram


def test_percentiles_are_right_to_within_one_bucket() -> None:
    values = np.random.default_rng(0).lognormal(4.0, 1.0, 5000)
    histogram = Histogram()
    for value in values:
        histogram.add(float(value))
    found = histogram.summary()
    for share, percentile in ((50, found.p50), (99, found.p99), (99.9, found.p999)):
        exact = np.percentile(values, share)
        assert exact / RATIO <= percentile <= exact * RATIO
    assert found.max == values.max()
    assert sum(histogram.counts) == len(values)


def test_extreme_values_are_counted() -> None:
    histogram = Histogram()
    for value in (0.0, EDGES_US[0], 5e9):
        histogram.add(value)
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-1]) == (1, 1, 1)
    assert histogram.summary().p999 == 5e9


def test_nothing_measured_is_zero() -> None:
    assert Histogram().summary().p99 == 0.0


@pytest.mark.parametrize("value", [3.0, 30.0])
def test_a_percentile_is_never_above_the_maximum(value: float) -> None:
    histogram = Histogram()
    histogram.add(value)
    assert histogram.summary().p50 == value
