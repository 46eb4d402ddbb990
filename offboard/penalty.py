"""The penalty λ that fresh episodes of the source ask for (:mod:`offboard.calibration`).

Each episode mixes in its own share of random actions: planning tries what the policy alone never
would, and a bound says nothing about states that calibration never saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from offboard.calibration import Bound, CalibrationConfig, bounds
from offboard.device import moved
from offboard.model_state import ModelState
from offboard.replay import Batch, join
from offboard.rollout import Env, Policy, step_env
from offboard.uncertainty import Estimator
from offboard.world_model import WorldModel


@dataclass(frozen=True)
class PenaltyConfig:
    """How many episodes λ is chosen on and measured on.

    Attributes:
        episodes: to choose λ on; 0 leaves it as configured.
        fresh_episodes: to measure the bound on.
        steps: of each episode.
    """

    episodes: int = 48
    fresh_episodes: int = 24
    steps: int = 100
    claim: CalibrationConfig = CalibrationConfig()  # noqa: RUF009


def calibrate(
    env: Env,
    policy: Policy,
    model: WorldModel,
    state: ModelState,
    estimate: Estimator,
    horizon: int,
    discount: float,
    config: PenaltyConfig,
    seed: int,
) -> Bound:
    """The bound over ``horizon`` steps that episodes of ``policy`` in ``env`` support.

    Its ``penalty`` is None where they support none.
    """
    rng = np.random.default_rng(seed)
    seeds = range(seed, seed + config.episodes + config.fresh_episodes)
    episodes = [
        moved(explored_episode(env, policy, config.steps, rng, seed=each), model.device)
        for each in seeds
    ]
    calibration, fresh = episodes[: config.episodes], episodes[config.episodes :]
    generator = torch.Generator().manual_seed(seed)
    (found,) = bounds(
        model, state, estimate, calibration, fresh, (horizon,), discount, config.claim, generator
    )
    return found


def explored_episode(
    env: Env, policy: Policy, steps: int, rng: np.random.Generator, seed: int
) -> Batch:
    """At most ``steps`` transitions of one episode, a random share of its actions uniform."""
    obs, _ = env.reset(seed=seed)
    A = (env.action_space.shape or (1,))[0]
    made: list[Batch] = []
    share, over = float(rng.uniform()), False
    while not over and len(made) < steps:
        random = rng.uniform(-1.0, 1.0, A).astype(np.float32)
        action = random if rng.uniform() < share else policy(obs)
        transition, obs, over = step_env(env, obs, action)
        made.append(transition)
    return join(made)
