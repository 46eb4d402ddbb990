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
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.replay import Batch
from offboard.uncertainty import Estimator
from offboard.world_model import ModelState, WorldModel


@dataclass(frozen=True)
class CalibrationConfig:
    """What is claimed, and when it is not.

    Attributes:
        coverage: stated share of windows whose true return is not below the bound.
        windows: drawn from each episode.
        check_share: of the calibration episodes, the last, on which the claim is checked.
        slack: by which the coverage in that check may miss.
        tightness_max: a bound that lies further below the truth, in return scales, is no bound.
    """

    coverage: float = 0.9
    windows: int = 4
    check_share: float = 1 / 3
    slack: float = 0.03
    tightness_max: float = 1.0


class Windows(NamedTuple):
    """Stretches of H steps from E episodes, W of each: (E, W, H, …); ``live`` until the end."""

    steps: Batch
    live: Tensor


class Returns(NamedTuple):
    """Open-loop returns against the truth, each (E, W)."""

    predicted: Tensor
    uncertainty: Tensor
    true: Tensor

    @property
    def scores(self) -> Tensor:
        """(E, W) the least λ that makes the bound hold."""
        return (self.predicted - self.true) / self.uncertainty.clamp_min(1e-9)


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


def windows(
    episodes: Sequence[Batch], horizon: int, count: int, generator: torch.Generator
) -> Windows:
    """``count`` random windows of each episode; one cut short by time must hold a whole window."""
    usable = [
        episode
        for episode in episodes
        if episode.size >= horizon or (episode.size and episode.terminated[-1])
    ]
    steps, live = [], []
    for episode in usable:
        ended = bool(episode.terminated[-1])
        starts = episode.size if ended else episode.size - horizon + 1
        first = torch.randint(starts, (count,), generator=generator)
        index = first[:, None] + torch.arange(horizon)  # (W, H)
        live.append(index < episode.size)
        steps.append(episode.take(index.clamp_max(episode.size - 1)))
    if not steps:
        return Windows(Batch(*(torch.empty(0),) * 5), torch.empty(0))
    stacked = Batch(*(torch.stack(column) for column in zip(*steps, strict=True)))
    return Windows(stacked, torch.stack(live))


@torch.no_grad()
def open_loop(
    model: WorldModel, state: ModelState, estimate: Estimator, drawn: Windows, discount: float
) -> Returns:
    """Replay each window's actions in the model from the window's first observation."""
    E, W, H = drawn.live.shape
    obs = drawn.steps.obs[:, :, 0].flatten(0, 1)  # (B, O) with B = E W
    applied, reward = drawn.steps.applied.flatten(0, 1), drawn.steps.reward.flatten(0, 1)
    live = drawn.live.flatten(0, 1)
    predicted, doubt, true = torch.zeros(3, E * W)
    alive = torch.ones(E * W)
    for t in range(H):
        step = model.expect(state, obs, applied[:, t])
        weight = discount**t * alive
        predicted = predicted + weight * step.reward
        doubt = doubt + weight * estimate(state, obs, applied[:, t])
        true = true + discount**t * live[:, t] * reward[:, t]
        alive = alive * (1.0 - step.terminated)
        obs = step.following
    return Returns(*(column.view(E, W) for column in (predicted, doubt, true)))


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
    """λ from the first calibration episodes, the claim from the others, the figures from fresh."""
    E = calibration.true.shape[0]
    chosen = E - round(config.check_share * E)
    choose, check = _part(calibration, slice(chosen)), _part(calibration, slice(chosen, E))
    penalty = conformal_penalty(choose.scores, config.coverage)
    if math.isinf(penalty):
        reason = f"{chosen} episodes are too few to claim {config.coverage:.0%}"
        return Bound(horizon, config.coverage, None, None, None, reason)
    scale = _spread(calibration.true)
    reason = _refusal(check, penalty, scale, config)
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
    if covered < config.coverage - config.slack:
        return f"{covered:.0%} instead of {config.coverage:.0%} on its own check"
    if tightness > config.tightness_max:
        return f"{tightness:.1f} return scales below the truth"
    return ""


def _coverage(returns: Returns, penalty: float) -> float:
    return float((returns.scores <= penalty).float().mean())


def _tightness(returns: Returns, penalty: float, scale: float) -> float:
    gap = returns.true - (returns.predicted - penalty * returns.uncertainty)
    return float(gap.mean()) / scale


def _spread(true: Tensor) -> float:
    """Between the 5 % and the 95 % quantile: what a bound must tell apart to be of use."""
    low, high = torch.quantile(true, torch.tensor([0.05, 0.95])).tolist()
    return max(float(high - low), 1e-9)


def _part(returns: Returns, episodes: slice) -> Returns:
    return Returns(*(column[episodes] for column in returns))
