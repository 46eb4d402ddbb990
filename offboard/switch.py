"""Which way to learn in the target, decided once from what was measured there. Pure.

Relabelled prior data pays where the target stays near what the source has seen, and hurts where it
does not: on pairs tried by a prototype the source model's error and the share of prior states
inside the target's range told the two apart, the adapted model's error did not (LEARNING.md § 6 E).
Where the source policy does worse than random actions did, nothing of it is worth keeping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from offboard.mismatch import Mismatch


class Course(str, Enum):
    """How the learner goes on. RAW, the prior as it is, is never decided, only asked for."""

    RELABEL = "relabel"
    FINETUNE = "ft"
    SCRATCH = "scratch"
    RAW = "raw"


@dataclass(frozen=True)
class SwitchConfig:
    """Thresholds, from a prototype (LEARNING.md § 6) and tuning seeds (ADR 12), never evaluation's.

    ``support_min`` lies between the rig at twice its gap, 0.26 at least, and HalfCheetah's broken
    front thigh, 0.19, where relabelling lost to plain fine-tuning.

    Attributes:
        support_min: share of prior data that must be supported by target data.
        source_nmse_max: error of the source model in the target beyond which nothing of it is used.
    """

    support_min: float = 0.25
    source_nmse_max: float = 0.5


def decide(
    mismatch: Mismatch, target_reward: float, random_reward: float, config: SwitchConfig
) -> Course:
    """The course to take: plain fine-tuning where a figure is not a number.

    Args:
        mismatch: of source and target.
        target_reward: mean reward per step of the source policy in the target.
        random_reward: the same of random actions in the source.
        config: thresholds.
    """
    if target_reward < random_reward:
        return Course.SCRATCH
    if not (mismatch.finite and math.isfinite(target_reward)):
        return Course.FINETUNE
    near = mismatch.support >= config.support_min and mismatch.source_nmse < config.source_nmse_max
    return Course.RELABEL if near else Course.FINETUNE
