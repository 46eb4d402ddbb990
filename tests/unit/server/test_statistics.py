"""Is Spearman's ρ the rank correlation?"""

from __future__ import annotations

import math

import pytest
import torch

from offboard.statistics import spearman

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
