"""Is Spearman's ρ the rank correlation, and the area under the ROC curve a chance?"""

from __future__ import annotations

import math

import pytest
import torch

from offboard.statistics import auc, spearman

X = torch.tensor([0.1, 5.0, 2.0, 9.0, 3.0])


def test_any_rising_function_correlates_fully() -> None:
    assert spearman(X, X.exp()) == pytest.approx(1.0)
    assert spearman(X, -(X**3)) == pytest.approx(-1.0)


def test_a_value_worked_out_by_hand() -> None:
    """ρ = 1 - 6 Σd² / (n (n² - 1)) with rank differences 1, -1, 2, -2, 0."""
    x, y = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([2.0, 1.0, 5.0, 3.0, 4.0])
    squares = 1 + 1 + 4 + 1 + 1
    assert spearman(x, y) == pytest.approx(1 - 6 * squares / (5 * 24))


def test_two_points_are_no_sample() -> None:
    assert math.isnan(spearman(X[:2], X[:2]))


def test_tied_values_share_a_rank() -> None:
    """Ranks 0.5, 0.5, 2 against 0, 1, 2: covariance 1.5 over √(1.5 · 2)."""
    tied = spearman(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert tied == pytest.approx(1.5 / math.sqrt(1.5 * 2.0))


def test_the_area_is_the_chance_that_a_positive_outscores_a_negative() -> None:
    """Of the six pairs four are in order and one is tied."""
    score = torch.tensor([3.0, 1.0, 2.0, 1.0, 0.0])
    positive = torch.tensor([True, True, False, False, False])
    assert auc(score, positive) == pytest.approx(4.5 / 6)


def test_a_perfect_detector_has_the_whole_area_and_its_opposite_none() -> None:
    positive = X > 4.0
    assert auc(X, positive) == 1.0
    assert auc(-X, positive) == 0.0


def test_without_both_kinds_there_is_no_area() -> None:
    assert math.isnan(auc(X, torch.ones(5, dtype=torch.bool)))
    assert math.isnan(auc(X, torch.zeros(5, dtype=torch.bool)))
