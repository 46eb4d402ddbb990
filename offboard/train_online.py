"""SAC in a simulator, step by step: the source expert, and the reference expert of a target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from offboard.device import moved
from offboard.replay import Batch, Replay
from offboard.rollout import Env, actor_policy, mean_return, step_env
from offboard.run_dir import entry, pack, unpack
from offboard.sac import Sac, SacLoss, SacState


@dataclass(frozen=True)
class OnlineConfig:
    """Budget of an online run; LEARNING.md § 5.2 (9-10k steps, UTD 2).

    Attributes:
        env_steps: answers of the policy in all.
        random_steps: of these, random ones at the beginning.
        updates_per_step: of actor and critics.
        evaluate_every: steps; a checkpoint is written as well.
        evaluate_episodes: of the policy without noise; the best snapshot is kept.
    """

    env_steps: int = 10_000
    random_steps: int = 500
    updates_per_step: int = 2
    evaluate_every: int = 1_000
    evaluate_episodes: int = 5


@dataclass
class TrainState:
    """A run in progress: the present and the best snapshot, its experience and random stream."""

    sac: SacState
    best: SacState
    replay: Replay
    generator: torch.Generator
    step: int = 0
    latest: float = math.nan
    best_return: float = -math.inf
    wall_s: float = 0.0
    loss: SacLoss | None = None

    def row(self) -> dict[str, float]:
        """Where the run stands, for its log; losses are of the last update."""
        losses = {} if self.loss is None else self.loss.row()
        return {
            "step": self.step,
            "episode_return": self.latest,
            "wall_s": round(self.wall_s, 3),
            **losses,
        }

    def tensors(self) -> dict[str, Tensor]:
        """A checkpoint."""
        numbers = [self.step, self.latest, self.best_return, self.wall_s]
        return {
            **pack("sac", self.sac),
            **pack("best", self.best),
            **pack("replay", self.replay.all()),
            "generator": self.generator.get_state(),
            "numbers": torch.tensor(numbers, dtype=torch.float64),
        }

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor], replay: Replay) -> TrainState:
        """Resume; fills the empty ``replay``. Raises StoreError for a foreign checkpoint."""
        replay.add(unpack("replay", Batch, tensors))
        generator = torch.Generator()
        generator.set_state(entry(tensors, "generator"))
        step, latest, best_return, wall_s = entry(tensors, "numbers").tolist()
        sac, best = (
            moved(unpack(name, SacState, tensors), replay.device) for name in ("sac", "best")
        )
        return TrainState(sac, best, replay, generator, int(step), latest, best_return, wall_s)


def fresh_start(sac: SacState, replay: Replay, seed: int) -> TrainState:
    """A run that has not stepped yet."""
    return TrainState(sac, sac, replay, torch.Generator().manual_seed(seed))


def train_online(
    env: Env,
    judge_env: Env,
    sac: Sac,
    state: TrainState,
    config: OnlineConfig,
    seed: int,
    on_step: Callable[[TrainState], None] = lambda _: None,
) -> TrainState:
    """Train in ``env``, judge snapshots in ``judge_env`` and keep the best.

    Args:
        env: where experience comes from; every transition goes to ``state.replay``.
        judge_env: an environment of its own, so that judging does not disturb training.
        sac: the algorithm.
        state: where to start or resume; a resumed run begins a new episode.
        config: budget.
        seed: of the environment and of the random first actions.
        on_step: called after every environment step.
    """
    rng = np.random.default_rng(seed + state.step)
    began = time.monotonic() - state.wall_s
    obs, _ = env.reset(seed=seed + state.step)
    while state.step < config.env_steps:
        if state.step < config.random_steps:
            action = rng.uniform(-1.0, 1.0, sac.action_size).astype(np.float32)
        else:
            action = actor_policy(sac.actor_space, state.sac.actor, state.generator)(obs)
        transition, obs, over = step_env(env, obs, action)
        state.replay.add(transition)
        state.step += 1
        if over:
            obs, _ = env.reset()
        if state.step > config.random_steps and len(state.replay) >= sac.config.batch:
            _update(sac, state, config.updates_per_step)
        state.wall_s = time.monotonic() - began
        if state.step % config.evaluate_every == 0 or state.step == config.env_steps:
            _judge(judge_env, sac, state, config.evaluate_episodes)
        on_step(state)
    return state


def _update(sac: Sac, state: TrainState, updates: int) -> None:
    for _ in range(updates):
        batch = state.replay.sample(sac.config.batch, state.generator)
        state.sac, state.loss = sac.update(state.sac, batch, sac.noise(state.generator))


def _judge(env: Env, sac: Sac, state: TrainState, episodes: int) -> None:
    policy = actor_policy(sac.actor_space, state.sac.actor)
    state.latest = mean_return(env, policy, episodes, seed=10_000)
    if state.latest > state.best_return:
        state.best, state.best_return = state.sac, state.latest
