"""How far a cell's model can be believed: rank correlation, detection and calibrated bounds.

Measured on fresh episodes in which each has its own share of random actions, so that there are
states the policy alone would never show.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from offboard.bench.pairs import Pair
from offboard.bench.source import Prior
from offboard.bench.world import Problem, World, open_world
from offboard.calibration import Bound, CalibrationConfig, bounds
from offboard.replay import Batch, join
from offboard.rollout import Env, Policy, actor_policy, step_env
from offboard.uncertainty import Quality, estimator, quality
from offboard.world_model import ModelState, WorldModel

CALIBRATION_EPISODES, FRESH_EPISODES = 120, 120
EPISODE_STEPS = 150
HORIZONS = (5, 10, 25, 50)
HEADLINE_HORIZON = 25
SEED = 60_000
ESTIMATOR = "total"


def doubt(
    pair: Pair, problem: Problem, prior: Prior, adapted: ModelState, seed: int
) -> dict[str, Any]:
    """The ``uncertainty`` entry of a cell.

    Args:
        pair: its worlds.
        problem: what is known of them.
        prior: the source run, whose policy collects the episodes.
        adapted: the ensemble after the cell's target transitions.
        seed: of episodes and windows.
    """
    model = problem.world_model(pair.recipe.model)
    estimate = estimator(ESTIMATOR, model)
    sac = problem.sac(pair.recipe.sac)
    generator = torch.Generator().manual_seed(seed)
    policy = actor_policy(sac.actor_space, prior.sac.actor, generator)
    count = CALIBRATION_EPISODES + FRESH_EPISODES
    source = _episodes(pair.source, policy, count, seed)
    target = _episodes(pair.target, policy, FRESH_EPISODES // 3, seed)
    calibration, fresh = source[:CALIBRATION_EPISODES], source[CALIBRATION_EPISODES:]
    claims = bounds(
        model, prior.model, estimate, calibration, fresh, HORIZONS, problem.discount,
        CalibrationConfig(), generator,
    )  # fmt: skip
    at_source = quality(estimate, model, prior.model, join(fresh))
    at_target = quality(estimate, model, adapted, join(target))
    return {**_headline(at_source, at_target, claims), **_blind(model, prior, target)}


def _headline(source: Quality, target: Quality, claims: list[Bound]) -> dict[str, Any]:
    claim = next(item for item in claims if item.horizon == HEADLINE_HORIZON)
    return {
        "spearman_source": source.spearman,
        "auc_source": source.auc,
        "spearman_target": target.spearman,
        "auc_target": target.auc,
        "coverage_stated": claim.stated,
        "coverage_measured": claim.coverage,
        "tightness": claim.tightness,
        "horizon": claim.horizon,
        "bounds": [asdict(item) for item in claims],
    }


def _blind(model: WorldModel, prior: Prior, target: list[Batch]) -> dict[str, Any]:
    """What the source's own doubt is worth in the target: it does not see a change of dynamics."""
    estimate = estimator(ESTIMATOR, model)
    unadapted = quality(estimate, model, prior.model, join(target))
    return {"spearman_target_unadapted": unadapted.spearman}


def _episodes(world: World, policy: Policy, count: int, seed: int) -> list[Batch]:
    env, rng = open_world(world), np.random.default_rng(seed)
    try:
        return [_episode(env, policy, SEED + count * seed + i, rng) for i in range(count)]
    finally:
        env.close()


def _episode(env: Env, policy: Policy, seed: int, rng: np.random.Generator) -> Batch:
    obs, _ = env.reset(seed=seed)
    A = (env.action_space.shape or (1,))[0]
    steps: list[Batch] = []
    share, over = float(rng.uniform()), False
    while not over and len(steps) < EPISODE_STEPS:
        action = policy(obs)
        if rng.uniform() < share:
            action = rng.uniform(-1.0, 1.0, A).astype(np.float32)
        transition, obs, over = step_env(env, obs, action)
        steps.append(transition)
    return join(steps)
