"""Adaptive sampling: how much of a batch comes from prior data. Pure arithmetic.

Our design (the paper's schedule is not known to us): the size-proportional decay of Cal-QL's code,
``N_off / (N_off + N_on)``, scaled to begin at ``start``, times the trust that the adapted model
earns on target transitions it has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingConfig:
    """``start`` is the fraction before any online data, ``nmse_useless`` where trust reaches 0."""

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
