"""Are scores of learning curves the numbers one gets by hand, and do their intervals hold?"""

from __future__ import annotations

import numpy as np
import pytest

from offboard.bench.score import (
    area_under_curve,
    band,
    bootstrap,
    estimate,
    interquartile_mean,
    mean_of_seeds,
    paired_difference,
    paired_ratio,
    probability_of_improvement,
    steps_to_threshold,
)

STEPS = np.array([0.0, 100.0, 200.0, 400.0])
INF = float("inf")


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 6.0], 3.0),  # three seeds: nothing is cut
        ([100.0, 1.0, 2.0, -50.0], 1.5),
        ([9.0, 3.0, 1.0, 2.0, 100.0], 14.0 / 3.0),  # five seeds: one cut at each end
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 90], 4.5),  # ten seeds: two at each end
    ],
)
def test_the_middle_half_is_averaged(values: list[float], mean: float) -> None:
    assert interquartile_mean(np.array(values, float)) == pytest.approx(mean)


def test_the_mean_of_curves_is_taken_step_by_step() -> None:
    curves = np.array([[0.0, 10.0], [1.0, 0.0], [2.0, 5.0], [9.0, 6.0]])
    assert interquartile_mean(curves).tolist() == [1.5, 5.5]


@pytest.mark.parametrize(("never", "finite"), [(1, True), (2, False)])
def test_one_seed_of_five_may_never_arrive(never: int, finite: bool) -> None:
    steps = np.array([100.0] * (5 - never) + [INF] * never)
    assert np.isfinite(interquartile_mean(steps)) == finite


def test_area_weighs_each_stretch_by_its_steps() -> None:
    curve = np.array([[0.0, 10.0, 20.0, 40.0], [5.0, 5.0, 5.0, 5.0]])
    # 0.5·(0+10)·100 + 0.5·(10+20)·100 + 0.5·(20+40)·200 = 8,000 over 400 steps
    assert area_under_curve(STEPS, curve).tolist() == [20.0, 5.0]


def test_the_first_evaluation_at_the_threshold_counts() -> None:
    curves = np.array(
        [[0.0, 80.0, 10.0, 90.0], [0.0, 79.9, 79.9, 79.9], [80.0, 0.0, 0.0, 0.0], [0, 0, 0, 99]]
    )
    assert steps_to_threshold(STEPS, curves, np.full(4, 80.0)).tolist() == [100.0, INF, 0.0, 400.0]


def test_each_seed_has_its_own_threshold() -> None:
    curves = np.array([[0.0, 50.0, 60.0, 70.0]] * 2)
    assert steps_to_threshold(STEPS, curves, np.array([50.0, 70.0])).tolist() == [100.0, 400.0]


def test_a_resample_holds_only_what_was_measured_in_that_stratum() -> None:
    a, b = np.array([1.0, 2.0]), np.array([10.0, 20.0, 30.0])
    drawn = bootstrap(lambda x, y: np.concatenate([x, y], axis=1), [a, b], rng(), 500)
    assert drawn.shape == (500, 5)
    assert set(drawn[:, :2].ravel()) == {1.0, 2.0}
    assert set(drawn[:, 2:].ravel()) == {10.0, 20.0, 30.0}
    assert drawn[:, :2].mean() == pytest.approx(1.5, abs=0.05)


def test_whole_curves_are_drawn() -> None:
    curves = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    drawn = bootstrap(mean_of_seeds, [curves], rng(), 200)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert len(np.unique(drawn[:, 0])) > 3


def test_the_interval_of_two_seeds_is_both_of_them() -> None:
    """Draws are (1, 1), (1, 3), (3, 1), (3, 3): a quarter of them lies at each end."""
    value, ci95 = estimate(mean_of_seeds, [np.array([1.0, 3.0])], rng())
    assert value == 2.0
    assert ci95 == (1.0, 3.0)


def test_seeds_that_agree_leave_no_doubt() -> None:
    assert estimate(mean_of_seeds, [np.full(5, 4.0)], rng()) == (4.0, (4.0, 4.0))


def test_one_seed_has_no_interval() -> None:
    assert estimate(mean_of_seeds, [np.array([4.0])], rng()) == (4.0, None)


def test_the_interval_covers_the_mean_of_many_worlds() -> None:
    """95 % nominal; with ten seeds a percentile interval of the IQM covers somewhat less."""
    worlds = rng().normal(size=(200, 10))
    intervals = [estimate(mean_of_seeds, [w], rng(), resamples=400).ci95 for w in worlds]
    covered = np.mean([low <= 0.0 <= high for low, high in intervals])
    assert 0.85 < covered < 0.98


def test_the_interval_does_not_depend_on_the_machine() -> None:
    sample = [np.array([1.0, 5.0, 2.0, 8.0, 3.0])]
    assert estimate(mean_of_seeds, sample, rng()) == estimate(mean_of_seeds, sample, rng())


def test_a_band_encloses_its_curve() -> None:
    curves = np.random.default_rng(0).normal(size=(8, 5)).cumsum(1)
    mean, low, high = band(curves, rng())
    assert mean.tolist() == interquartile_mean(curves).tolist()
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert (low < high).all()


def test_the_ratio_is_that_of_the_middle_halves() -> None:
    ours, theirs = np.array([2.0, 4.0, 6.0, 100.0]), np.array([1.0, 2.0, 3.0, -7.0])
    assert paired_ratio(ours, theirs, rng()).value == pytest.approx(5.0 / 1.5)


def test_seeds_are_drawn_in_pairs() -> None:
    """Where ours is always twice theirs the ratio is 2 in every resample, however seeds differ."""
    theirs = np.array([1.0, 50.0, 3.0, 200.0, 9.0])
    estimated = paired_ratio(2.0 * theirs, theirs, rng())
    assert estimated.value == pytest.approx(2.0)
    assert estimated.ci95 == pytest.approx((2.0, 2.0))


def test_a_ratio_to_nothing_is_no_number() -> None:
    assert paired_ratio(np.ones(4), np.array([-1.0, 0.0, 0.0, 1.0]), rng()) is None


def test_a_ratio_that_may_be_to_nothing_has_no_interval() -> None:
    estimated = paired_ratio(np.ones(4), np.array([-5.0, 1.0, 1.0, 1.0]), rng())
    assert estimated.value == 1.0
    assert estimated.ci95 is None


def test_the_difference_is_of_pairs() -> None:
    theirs = np.array([1.0, 50.0, 3.0, 200.0, 9.0])
    value, ci95 = paired_difference(theirs + 1.5, theirs, rng())
    assert value == pytest.approx(1.5)
    assert ci95 == pytest.approx((1.5, 1.5))


def test_a_difference_that_differs_keeps_its_sign_where_every_seed_does() -> None:
    _, ci95 = paired_difference(np.array([2.0, 3.0, 4.0]), np.zeros(3), rng())
    assert ci95 is not None
    assert 2.0 <= ci95[0] < 3.0 < ci95[1] <= 4.0


@pytest.mark.parametrize(
    ("ours", "theirs", "chance"),
    [
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([0.0, 1.0], [2.0, 3.0], 0.0),
        ([1.0, 1.0], [1.0, 1.0], 0.5),
        ([1.0, 3.0], [2.0, 2.0], 0.5),
        ([1.0, 3.0], [0.0, 1.0, 2.0], (1.5 + 3.0) / 6.0),
    ],
)
def test_improvement_counts_runs_that_win(ours, theirs, chance: float) -> None:
    both = [(np.array(ours), np.array(theirs))]
    assert probability_of_improvement(both, rng()).value == pytest.approx(chance)


def test_improvement_over_pairs_gives_each_pair_one_voice() -> None:
    """Nine seeds that always win and two that always lose: one half."""
    pairs = [(np.ones(9), np.zeros(9)), (np.zeros(2), np.ones(2))]
    assert probability_of_improvement(pairs, rng()) == (0.5, (0.5, 0.5))
