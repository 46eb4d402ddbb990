"""Scores of learning curves repeated over a handful of seeds, with intervals that admit it.

A sample carries seeds on its first axis, (S, …); a statistic reduces axis 1 of resampled samples
(R, S, …) and so works on one sample as R = 1.

Source: Agarwal et al. 2021 (arXiv 2108.13264): interquartile mean and probability of improvement
(§ 4.3), percentile intervals by stratified bootstrap (§ 4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[..., Array]

RESAMPLES = 2_000
PERCENTILES = (2.5, 97.5)


class Estimate(NamedTuple):
    """A number and its 95 % interval; no interval where one seed, or a pole, forbids it."""

    value: float
    ci95: tuple[float, float] | None


def interquartile_mean(x: Array, axis: int = 0) -> Array:
    """Mean along ``axis`` of what remains when ⌊S/4⌋ values are cut at each end.

    Infinity is a value like any other: it stays only if too many seeds have it to be cut.
    """
    ordered = np.sort(x, axis=axis)
    size = ordered.shape[axis]
    kept = np.take(ordered, range(size // 4, size - size // 4), axis=axis)
    mean: Array = kept.mean(axis=axis)
    return mean


def area_under_curve(steps: Array, returns: Array) -> Array:
    """Mean return over the budget by trapezoids: steps (T,), returns (…, T) → (…,)."""
    area: Array = np.trapezoid(returns, steps, axis=-1) / (steps[-1] - steps[0])
    return area


def steps_to_threshold(steps: Array, returns: Array, threshold: Array) -> Array:
    """First evaluation at or above ``threshold`` (S,), infinity where none: (S, T) → (S,)."""
    reached = returns >= threshold[:, None]
    return np.where(reached.any(1), steps[reached.argmax(1)], np.inf)


def mean_of_seeds(x: Array) -> Array:
    """The interquartile mean as a statistic: (R, S, …) → (R, …)."""
    return interquartile_mean(x, axis=1)


def bootstrap(
    statistic: Statistic, strata: Sequence[Array], rng: np.random.Generator, resamples: int
) -> Array:
    """``statistic`` of ``strata`` whose seeds are drawn again with replacement, each on its own."""
    drawn = [x[rng.integers(len(x), size=(resamples, len(x)))] for x in strata]  # (R, S, …)
    return statistic(*drawn)


def estimate(
    statistic: Statistic,
    strata: Sequence[Array],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A scalar ``statistic`` with its percentile interval."""
    value = float(statistic(*(x[None] for x in strata))[0])
    if min(len(x) for x in strata) < 2:
        return Estimate(value, None)
    draws = bootstrap(statistic, strata, rng, resamples)
    if not np.isfinite(draws).all():
        return Estimate(value, None)
    low, high = np.percentile(draws, PERCENTILES)
    return Estimate(value, (float(low), float(high)))


def band(
    returns: Array, rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[Array, Array, Array]:
    """Interquartile mean of curves (S, T) and its pointwise interval: three arrays (T,).

    A whole curve is drawn at a time, because its points belong together.
    """
    low, high = np.percentile(
        bootstrap(mean_of_seeds, [returns], rng, resamples), PERCENTILES, axis=0
    )
    return interquartile_mean(returns), low, high


def paired_ratio(
    ours: Array, theirs: Array, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate | None:
    """Ratio of interquartile means of scores (S,) of the same seeds, the seeds drawn in pairs.

    None if theirs is not above zero, where a ratio says nothing; no interval if that happens in a
    resample.
    """
    if interquartile_mean(theirs) <= 0.0:
        return None
    return estimate(_ratio, [np.stack([ours, theirs], axis=1)], rng, resamples)


def paired_difference(
    ours: Array, theirs: Array, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """Interquartile mean of ours - theirs, (S,) scores of the same seeds drawn in pairs."""
    return estimate(mean_of_seeds, [ours - theirs], rng, resamples)


def probability_of_improvement(
    pairs: Sequence[tuple[Array, Array]], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """P(a run of ours beats a run of theirs), ties half, averaged over ``pairs`` (S,), (S',)."""
    strata = [scores for pair in pairs for scores in pair]
    return estimate(_improvement, strata, rng, resamples)


def _ratio(both: Array) -> Array:
    """(R, S, 2) → (R,); infinite where the denominator is not above zero."""
    means = interquartile_mean(both, axis=1)  # (R, 2)
    above = means[:, 1] > 0.0
    return np.where(above, means[:, 0] / np.where(above, means[:, 1], 1.0), np.inf)


def _improvement(*scores: Array) -> Array:
    """Ours, theirs, ours, theirs, … each (R, S) → (R,)."""
    wins = [
        (np.sign(x[:, :, None] - y[:, None, :]) + 1.0).mean((1, 2)) / 2.0
        for x, y in zip(scores[::2], scores[1::2], strict=True)
    ]
    mean: Array = np.mean(wins, axis=0)
    return mean
