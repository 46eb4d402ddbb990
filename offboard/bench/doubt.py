"""How far a cell's model can be believed: rank correlation, detection and calibrated bounds.

Every estimator is judged; bounds and headline are those of ``total``.

Measured on fresh episodes in which each has its own share of random actions, so that there are
states the policy alone would never show.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from offboard.bench.pairs import Pair
from offboard.bench.source import NO_FILES, Prior, SourceRecipe
from offboard.bench.world import Problem, World, open_world
from offboard.calibration import Bound, CalibrationConfig, bounds
from offboard.model_state import ModelState
from offboard.replay import Batch, join
from offboard.rollout import Env, Policy, actor_policy, step_env
from offboard.run_dir import open_run
from offboard.uncertainty import Estimator, Quality, Values, estimator, estimators, quality
from offboard.world_model import WorldModel

CALIBRATION_EPISODES, FRESH_EPISODES = 120, 120
EPISODE_STEPS = 150
HORIZONS = (5, 10, 25, 50)
HEADLINE_HORIZON = 25
SEED = 60_000
ESTIMATOR = "total"


@dataclass(frozen=True)
class DoubtRecipe:
    """Everything that decides what the source's model is worth at home."""

    source: SourceRecipe
    episodes: tuple[int, int] = (CALIBRATION_EPISODES, FRESH_EPISODES)
    estimator: str = ESTIMATOR


def doubt(
    pair: Pair, problem: Problem, prior: Prior, adapted: ModelState, seed: int, out: Path
) -> dict[str, Any]:
    """The ``uncertainty`` entry of a cell.

    Args:
        pair: its worlds.
        problem: what is known of them.
        prior: the source run, whose policy collects the episodes.
        adapted: the ensemble after the cell's target transitions.
        seed: of episodes and windows.
        out: where the part that all pairs of a family share is kept, ``OUT/doubts/FAMILY/SEED``.
    """
    directory = out / "doubts" / pair.family / str(seed)
    run = open_run(directory, DoubtRecipe(SourceRecipe.of(pair, seed)), NO_FILES)
    at_home = run.result or run.finish(_at_home(pair, problem, prior, seed))
    return {**at_home, **_away(pair, problem, prior, adapted, seed)}


def _at_home(pair: Pair, problem: Problem, prior: Prior, seed: int) -> dict[str, Any]:
    """Of the source's model in the source: quality of its doubt, and calibrated bounds."""
    model = problem.world_model(pair.recipe.model)
    estimate = estimator(ESTIMATOR, model)
    generator = torch.Generator().manual_seed(seed)
    policy = _policy(pair, problem, prior, generator)
    source = _episodes(pair.source, policy, CALIBRATION_EPISODES + FRESH_EPISODES, seed)
    calibration, fresh = source[:CALIBRATION_EPISODES], source[CALIBRATION_EPISODES:]
    claims = bounds(
        model, prior.model, estimate, calibration, fresh, HORIZONS, problem.discount,
        CalibrationConfig(), generator,
    )  # fmt: skip
    judged = _judged(_estimators(pair, problem, prior), model, prior.model, join(fresh))
    return _headline(judged[ESTIMATOR], claims) | _named("source", judged)


def _away(
    pair: Pair, problem: Problem, prior: Prior, adapted: ModelState, seed: int
) -> dict[str, Any]:
    """In the target: the adapted model, and the source's, whose doubt is blind there."""
    model = problem.world_model(pair.recipe.model)
    every = _estimators(pair, problem, prior)
    policy = _policy(pair, problem, prior, torch.Generator().manual_seed(seed))
    target = join(_episodes(pair.target, policy, FRESH_EPISODES // 3, seed))
    judged = _judged(every, model, adapted, target)
    return {
        "spearman_target": judged[ESTIMATOR].spearman,
        "auc_target": judged[ESTIMATOR].auc,
        "spearman_target_unadapted": quality(every[ESTIMATOR], model, prior.model, target).spearman,
        **_named("target", judged),
    }


def _estimators(pair: Pair, problem: Problem, prior: Prior) -> dict[str, Estimator]:
    """All; those of value ask the source's networks."""
    sac = problem.sac(pair.recipe.sac)
    values = Values(sac.actor_space.view(prior.sac.actor), sac.critic_space.view(prior.sac.critic))
    return estimators(problem.world_model(pair.recipe.model), values)


def _judged(
    every: dict[str, Estimator], model: WorldModel, state: ModelState, data: Batch
) -> dict[str, Quality]:
    return {name: quality(one, model, state, data) for name, one in every.items()}


def _named(where: str, judged: dict[str, Quality]) -> dict[str, float]:
    """Flat, as a cell's other figures are."""
    figures = {f"spearman_{where}_{name}": one.spearman for name, one in judged.items()}
    return figures | {f"auc_{where}_{name}": one.auc for name, one in judged.items()}


def _policy(pair: Pair, problem: Problem, prior: Prior, generator: torch.Generator) -> Policy:
    sac = problem.sac(pair.recipe.sac)
    return actor_policy(sac.actor_space, prior.sac.actor, generator)


def _headline(source: Quality, claims: list[Bound]) -> dict[str, Any]:
    claim = next(item for item in claims if item.horizon == HEADLINE_HORIZON)
    return {
        "spearman_source": source.spearman,
        "auc_source": source.auc,
        "coverage_stated": claim.stated,
        "coverage_measured": claim.coverage,
        "tightness": claim.tightness,
        "horizon": claim.horizon,
        "bounds": [asdict(item) for item in claims],
    }


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
