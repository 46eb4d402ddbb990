"""How unsure an ensemble is, read from what its members predict.

All map mean and log-variance of the normalised change, each (K, B, D), to (B,). *Epistemic* ones
compare the members' means and fade with data; *aleatoric* ones read the noise that the members
believe in and do not; ``total`` is both.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from protocol.errors import ConfigError

Spread = Callable[[Tensor, Tensor], Tensor]


def disagreement(mean: Tensor, log_var: Tensor) -> Tensor:
    """Epistemic: RMS over columns of the standard deviation of the members' means.

    Source: PETS (Chua et al. 2018), and the alternative penalty in MOPO's code (LEARNING.md § 2).
    """
    return mean.var(0, unbiased=False).mean(-1).sqrt()


def max_pairwise(mean: Tensor, log_var: Tensor) -> Tensor:
    """Epistemic: the largest distance between two members' means.

    Source: MOReL (Kidambi et al. 2020), unknown state-action detector (LEARNING.md § 2).
    """
    gap = mean[:, None] - mean[None, :]  # (K, K, B, D)
    distance: Tensor = gap.norm(dim=-1)
    return distance.amax((0, 1))


def max_std(mean: Tensor, log_var: Tensor) -> Tensor:
    """Aleatoric: the largest norm of a member's predicted standard deviation, max_k ‖σ_k‖₂.

    Source: MOPO (Yu et al. 2020), the published penalty (LEARNING.md § 2).
    """
    length: Tensor = (0.5 * log_var).exp().norm(dim=-1)  # (K, B)
    return length.amax(0)


def total(mean: Tensor, log_var: Tensor) -> Tensor:
    """Both: RMS over columns of the standard deviation of the ensemble as one mixture.

    Var = mean_k σ_k² + var_k μ_k, the law of total variance. Source: Lakshminarayanan et al. 2017
    (deep ensembles), § 2.4.
    """
    return (log_var.exp().mean(0) + mean.var(0, unbiased=False)).mean(-1).sqrt()


SPREADS: dict[str, Spread] = {
    "disagreement": disagreement,
    "max_pairwise": max_pairwise,
    "max_std": max_std,
    "total": total,
}


def spread_named(name: str) -> Spread:
    """The spread called ``name``. Raises ConfigError for an unknown one."""
    if name not in SPREADS:
        raise ConfigError(f"no uncertainty {name!r}; there are {', '.join(SPREADS)}")
    return SPREADS[name]
