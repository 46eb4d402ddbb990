"""What a world model consists of: its sizes, how it is trained, and all that training changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class ModelConfig:
    """Size and training of the ensemble; LEARNING.md § 4 (5 × H64, batch 256).

    Attributes:
        members: of the ensemble.
        width: of both hidden layers.
        batch: transitions of an update, for each member.
        lr: learning rate.
        weight_decay: of AdamW.
        holdout: share of the data that decides when to stop.
        check_every: updates.
        patience: checks without progress until it stops.
        residual: width of a net beside each member that only adaptation moves; 0 for none.
        uncertainty: which one a step carries (``offboard/spread.py``); weights do not depend on it.
    """

    members: int = 5
    width: int = 64
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-5
    holdout: float = 0.1
    check_every: int = 250
    patience: int = 4
    residual: int = 0
    uncertainty: str = "disagreement"


class ModelState(NamedTuple):
    """Weights (P,), Adam moments and the normaliser.

    Inputs (O+A,); outputs (D,), which are changes of observation and, where it is learned, the
    reward; bounds of the observation (O,) and of the reward (2,).
    """

    weights: Tensor
    m: Tensor
    v: Tensor
    step: Tensor
    in_mean: Tensor
    in_std: Tensor
    out_mean: Tensor
    out_std: Tensor
    low: Tensor
    high: Tensor
    reward_range: Tensor
