"""Calibration: the penalty that makes the penalised return a lower bound, as often as stated.

With the model's open-loop return Ĝ = Σ_{t<H} γ^t r̂_t, its uncertainty U = Σ_{t<H} γ^t u_t and the
true return G of the same actions from the same state,

    Ĝ - λ U ≤ G   where and only where   λ ≥ (Ĝ - G) / U,

so the least λ with a stated coverage is a quantile of the right-hand side: the score of split
conformal prediction. The guarantee is for *exchangeable episodes*: same policy, same body as in
calibration. Steps of one episode are not exchangeable, so episodes are split, never steps, and
several windows of one episode count together as one. It says nothing about another policy or a
changed robot; there the measured coverage on fresh episodes is all there is.

Sources: Vovk et al. 2005 and Lei et al. 2018 (split conformal); Lee, Barber & Willett 2023 (arXiv
2306.06342), hierarchical conformal prediction, for windows grouped in episodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offboard.model_state import ModelState
from offboard.open_loop import Returns, open_loop, windows
from offboard.replay import Batch
from offboard.uncertainty import Estimator
from offboard.world_model import WorldModel

CHANCE = 1.645  # standard errors: one check in twenty misses by more


@dataclass(frozen=True)
class CalibrationConfig:
    """What is claimed, and when it is not.

    Attributes:
        coverage: stated share of windows whose true return is not below the bound.
        windows: drawn from each episode.
        check_share: of the calibration episodes: the last, on which a claim from the others is
            checked before it is made from all.
        slack: by which the coverage in that check may miss, on top of what chance explains.
        tightness_max: a bound that lies further below the truth, in return scales, is no bound.
    """

    coverage: float = 0.9
    windows: int = 8
    check_share: float = 0.5
    slack: float = 0.03
    tightness_max: float = 1.0


@dataclass(frozen=True)
class Bound:
    """The bound at one horizon.

    Attributes:
        horizon: H, steps.
        stated: the coverage asked for.
        penalty: λ; None where there is no bound.
        coverage: measured on fresh episodes; None without a finite λ.
        tightness: mean distance of bound and truth there, over the spread of true returns.
        reason: why there is no bound here, or empty.
    """

    horizon: int
    stated: float
    penalty: float | None
    coverage: float | None
    tightness: float | None
    reason: str = ""


def conformal_penalty(scores: Tensor, coverage: float) -> float:
    """The least λ ≥ 0 that covers a window of a fresh episode with probability ``coverage``.

    ``scores`` (E, W): the ⌈coverage (E + 1) W⌉-th smallest of them, which for W = 1 is the usual
    ⌈(n + 1)(1 - α)⌉. Infinite where E is too small to claim that much.
    """
    E, W = scores.shape
    rank = math.ceil(coverage * (E + 1) * W - 1e-9)
    if rank > E * W:
        return math.inf
    return max(0.0, float(scores.flatten().kthvalue(rank).values))


def bound(calibration: Returns, fresh: Returns, horizon: int, config: CalibrationConfig) -> Bound:
    """Check a claim within ``calibration``, make it from all of it, measure it on ``fresh``."""
    E = calibration.true.shape[0]
    chosen = E - round(config.check_share * E)
    choose, check = _part(calibration, slice(chosen)), _part(calibration, slice(chosen, E))
    trial = conformal_penalty(choose.scores, config.coverage)
    if math.isinf(trial):
        reason = f"{chosen} episodes are too few to check a claim of {config.coverage:.0%}"
        return Bound(horizon, config.coverage, None, None, None, reason)
    scale = _spread(calibration.true)
    reason = _refusal(check, trial, scale, config)
    penalty = conformal_penalty(calibration.scores, config.coverage)
    return Bound(
        horizon,
        config.coverage,
        None if reason else penalty,
        _coverage(fresh, penalty),
        _tightness(fresh, penalty, scale),
        reason,
    )


def bounds(
    model: WorldModel,
    state: ModelState,
    estimate: Estimator,
    calibration: Sequence[Batch],
    fresh: Sequence[Batch],
    horizons: Sequence[int],
    discount: float,
    config: CalibrationConfig,
    generator: torch.Generator,
) -> list[Bound]:
    """The bound at each of ``horizons``; both sets hold whole episodes, in order of time."""
    found = []
    for horizon in horizons:
        calibrated, measured = (
            open_loop(
                model,
                state,
                estimate,
                windows(episodes, horizon, config.windows, generator),
                discount,
            )
            for episodes in (calibration, fresh)
        )
        found.append(bound(calibrated, measured, horizon, config))
    return found


def _refusal(check: Returns, penalty: float, scale: float, config: CalibrationConfig) -> str:
    """Why the claim cannot be made, or an empty string."""
    covered, tightness = _coverage(check, penalty), _tightness(check, penalty, scale)
    if covered < config.coverage - config.slack - CHANCE * _coverage_error(check, penalty):
        return f"{covered:.0%} instead of {config.coverage:.0%} on its own check"
    if tightness > config.tightness_max:
        return f"{tightness:.1f} return scales below the truth"
    return ""


def _coverage(returns: Returns, penalty: float) -> float:
    return float((returns.scores <= penalty).float().mean())


def _coverage_error(returns: Returns, penalty: float) -> float:
    """Standard error of the coverage: episodes are independent, windows of one are not."""
    of_episode = (returns.scores <= penalty).float().mean(1)
    return float(of_episode.std(unbiased=False)) / math.sqrt(of_episode.shape[0])


def _tightness(returns: Returns, penalty: float, scale: float) -> float:
    gap = returns.true - (returns.predicted - penalty * returns.uncertainty)
    return float(gap.mean()) / scale


def _spread(true: Tensor) -> float:
    """Between the 5 % and the 95 % quantile: what a bound must tell apart to be of use."""
    low, high = torch.quantile(true, torch.tensor([0.05, 0.95]).to(true.device)).cpu().tolist()
    return max(float(high - low), 1e-9)


def _part(returns: Returns, episodes: slice) -> Returns:
    return Returns(*(column[episodes] for column in returns))
