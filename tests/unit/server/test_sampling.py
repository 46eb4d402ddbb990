"""Does prior data give way as the target is seen, and at once if the model is wrong about it?"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offboard.sampling import (
    SamplingConfig,
    beliefs,
    draw,
    effective_size,
    offline_fraction,
    trust,
)

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


def test_beliefs_worked_out_by_hand() -> None:
    doubt, moved = torch.tensor([0.0, 0.2, 0.0, 0.2]), torch.tensor([0.0, 0.0, 1.5, 1.5])
    believed = beliefs(doubt, moved, adapted_nmse=0.04, source_error=0.5)
    assert believed.tolist() == pytest.approx([1.0, 1 / 2, 1 / 4, 1 / 5])


@pytest.mark.parametrize(("doubt", "moved"), [(0.3, 0.0), (0.0, 0.3)])
def test_what_contradicts_the_target_fades_first_as_the_rest_is_better_known(
    doubt: float, moved: float
) -> None:
    doubtful, certain = torch.tensor([doubt, 0.0]), torch.tensor([moved, 0.0])
    early = beliefs(doubtful, certain, adapted_nmse=0.2, source_error=0.2)
    late = beliefs(doubtful, certain, adapted_nmse=0.02, source_error=0.02)
    assert float(late[0]) < float(early[0]) < 1.0
    assert float(late[1]) == float(early[1]) == 1.0


@pytest.mark.parametrize("doubt", [math.nan, math.inf])
def test_a_label_that_is_not_a_number_is_not_believed(doubt: float) -> None:
    assert beliefs(torch.tensor([doubt]), torch.zeros(1), 0.1, 0.1).tolist() == [0.0]


def test_an_error_that_is_not_a_number_leaves_the_order_of_beliefs() -> None:
    """One bad target transition must not make all prior data alike."""
    believed = beliefs(torch.tensor([0.1, 0.2]), torch.zeros(2), math.nan, math.nan)
    assert float(believed[0]) > float(believed[1]) > 0.0


def test_a_perfect_model_divides_by_nothing() -> None:
    assert beliefs(torch.zeros(2), torch.zeros(2), 0.0, 0.0).tolist() == [1.0, 1.0]


def test_indices_are_drawn_as_often_as_their_weights_say() -> None:
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0])
    index = draw(weights.double().cumsum(0), 20_000, torch.Generator().manual_seed(0))
    share = torch.bincount(index, minlength=5) / 20_000
    assert share[[0, 2, 4]].tolist() == [0.0, 0.0, 0.0]
    assert float(share[3]) == pytest.approx(0.75, abs=0.02)


def test_where_nothing_is_believed_an_index_is_still_one() -> None:
    index = draw(torch.zeros(3, dtype=torch.float64), 4, torch.Generator())
    assert index.tolist() == [2, 2, 2, 2]


def test_the_effective_size_counts_equal_weights_fully_and_lost_ones_not() -> None:
    assert effective_size(torch.full((7,), 0.3)) == 7
    assert effective_size(torch.tensor([1.0, 1.0, 0.0, 0.0])) == 2
    assert effective_size(torch.zeros(3)) == 0
