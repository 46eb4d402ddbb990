"""Adaptive sampling: how much of a batch comes from prior data, and which of it. Pure arithmetic.

Our design (the paper's schedule is not known to us). *How much*: the size-proportional decay of
Cal-QL's code, ``N_off / (N_off + N_on)``, scaled to begin at ``start``, times the trust that the
adapted model earns on target transitions it has not seen. *Which*: every relabelled transition has
a weight, as in Balanced Replay (Lee et al. 2021), whose priorities say how likely a transition is
to be the target's; ours say how right its new label is likely to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ERROR_FLOOR = 1e-4
"""Errors below it are not told apart; a perfect model must not divide by nothing."""


@dataclass(frozen=True)
class SamplingConfig:
    """How the share of prior data falls.

    Attributes:
        start: the share before any online data.
        half_life: target transitions after which the share is half.
        nmse_useless: error of the adapted model at which trust in prior data reaches 0.
    """

    start: float = 0.5
    half_life: int = 20_000
    nmse_useless: float = 0.5


def trust(nmse: float, config: SamplingConfig) -> float:
    """1 for a model without error on new target data, 0 at ``nmse_useless`` and beyond."""
    return min(1.0, max(0.0, 1.0 - nmse / config.nmse_useless))


def offline_fraction(online: int, nmse: float, config: SamplingConfig) -> float:
    """Share of a batch drawn from relabelled prior data, in [0, ``start``].

    Args:
        online: target transitions seen so far.
        nmse: error of the adapted model on target transitions before it trained on them.
        config: the schedule.
    """
    decay = config.half_life / (config.half_life + online)
    return config.start * decay * trust(nmse, config)


def beliefs(doubt: Tensor, moved: Tensor, adapted_nmse: float, source_error: float) -> Tensor:
    """How far each relabelled transition is believed: (N,) in [0, 1].

    1 / (1 + u² / ε + d / ε₀). A label is as wrong as its model is unsure, u, which counts against
    the error ε that the adapted model makes in the target; and the further relabelling moved it, d,
    the more was left to the model, which counts against the error ε₀ that the source model makes
    there. So what contradicts the target fades first, and more so the better the rest is known.

    Args:
        doubt: (N,) uncertainty u of the adapted model, in standard deviations of a change.
        moved: (N,) squared difference d of recorded and new outcome.
        adapted_nmse: ε, mean squared and in the units of ``doubt``, on target transitions new to
            the model.
        source_error: ε₀, mean squared and in the units of ``moved``, of the source model on target
            transitions.
    """
    against = doubt**2 / max(ERROR_FLOOR, adapted_nmse) + moved / max(ERROR_FLOOR, source_error)
    return torch.nan_to_num(1.0 / (1.0 + against), nan=0.0)


def draw(cumulative: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` indices, with replacement, each as often as its weight says.

    Args:
        cumulative: (N,) float64 running sum of the weights; where all are 0 the last one is drawn.
        count: of indices.
        generator: of the draw.
    """
    drawn = torch.rand(count, generator=generator, dtype=torch.float64)
    at = drawn.to(cumulative.device) * cumulative[-1]
    return torch.searchsorted(cumulative, at, right=True).clamp_max(cumulative.numel() - 1)


def effective_size(weights: Tensor) -> int:
    """How many equally weighted samples are worth as much: (Σw)² / Σw². Source: Kish 1965."""
    return round(float(weights.sum() ** 2 / (weights**2).sum().clamp_min(1e-12)))
