"""Warm-start RL: learn offline, drop the old data, collect a little, go on as plain SAC.

Source: Zhou et al. 2025 (ICLR, arXiv 2412.07762) and its code (LEARNING.md § 2): ten critics, the
minimum of two as target, four updates per step, CQL instead of Cal-QL on locomotion. Ours has one
learning rate for actor and critics, and no LayerNorm in the actor: the robot's graph has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from offboard.baselines.cal_ql import CalQlConfig, make_cal_ql
from offboard.baselines.mixed_sac import MixedSac, never
from offboard.bench.agent import Bench
from offboard.replay import empty
from offboard.sac import Sac


@dataclass(frozen=True)
class WsrlConfig:
    """``calibrate`` off for locomotion, where returns are hard to estimate."""

    calibrate: bool = True
    offline_updates: int = 10_000
    critics: int = 10
    target_subset: int = 2
    updates_per_step: int = 4


def make_wsrl(bench: Bench, config: WsrlConfig = WsrlConfig()) -> MixedSac:
    """An agent that starts from an offline policy and keeps none of its data.

    Raises:
        ConfigError: there is no source.
    """
    many = replace(bench.sac, critics=config.critics, target_subset=config.target_subset)
    offline = CalQlConfig(calibrate=config.calibrate, offline_updates=config.offline_updates)
    learned = make_cal_ql(replace(bench, sac=many), offline).state
    return MixedSac(
        Sac(bench.O, bench.A, bench.discount, many),
        learned,
        empty(bench.O, bench.A),
        never,
        bench.warmup_steps,
        config.updates_per_step,
        bench.seed,
    )
