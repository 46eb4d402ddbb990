"""Does prior data give way as the target is seen, and at once if the model is wrong about it?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offboard.sampling import SamplingConfig, offline_fraction, trust

CONFIG = SamplingConfig(start=0.5, half_life=1_000, nmse_useless=0.4)
COUNT = st.integers(0, 10**9)
NMSE = st.floats(0.0, 10.0)


@pytest.mark.parametrize(
    ("online", "nmse", "fraction"),
    [(0, 0.0, 0.5), (1_000, 0.0, 0.25), (3_000, 0.0, 0.125), (0, 0.2, 0.25), (1_000, 0.3, 0.0625)],
)
def test_values_worked_out_by_hand(online: int, nmse: float, fraction: float) -> None:
    assert offline_fraction(online, nmse, CONFIG) == pytest.approx(fraction)


@given(COUNT, COUNT, NMSE)
def test_more_target_data_never_means_more_prior_data(some: int, more: int, nmse: float) -> None:
    few, many = sorted((some, more))
    assert offline_fraction(many, nmse, CONFIG) <= offline_fraction(few, nmse, CONFIG)


@given(COUNT, NMSE, NMSE)
def test_a_worse_model_never_means_more_prior_data(online: int, some: float, more: float) -> None:
    good, bad = sorted((some, more))
    assert offline_fraction(online, bad, CONFIG) <= offline_fraction(online, good, CONFIG)


@given(COUNT, st.floats(0.0) | st.just(math.nan))
def test_the_fraction_keeps_its_bounds_whatever_the_error(online: int, nmse: float) -> None:
    assert 0.0 <= offline_fraction(online, nmse, CONFIG) <= CONFIG.start


@pytest.mark.parametrize("nmse", [0.4, 1.0, math.inf, math.nan])
def test_a_useless_model_is_not_trusted(nmse: float) -> None:
    assert trust(nmse, CONFIG) == 0.0
