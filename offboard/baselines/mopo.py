"""MOPO-style decoupled generation: a policy made in the source model, then fine-tuned online.

Source: Yu et al. 2020 (arXiv 2005.13239), algorithm 2: SAC on rollouts of a few steps that branch
off from old states, each step's reward less λ times the model's largest predicted deviation; 5 %
real data (LEARNING.md § 2). What the last rounds imagined is the prior of the online phase, where
it decays with the share that the source has in all data (Cal-QL's rule). Sizes are MOPO's
(50,000 rollouts each 1,000 updates) scaled down to small networks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from offboard.baselines.mixed_sac import MixedSac, proportional
from offboard.bench.agent import Bench
from offboard.model_state import ModelState
from offboard.networks import Named, act
from offboard.replay import Batch, join
from offboard.sac import Sac, SacState
from offboard.spread import max_std
from offboard.world_model import WorldModel


@dataclass(frozen=True)
class MopoConfig:
    """Sizes as published for halfcheetah-medium-replay.

    Attributes:
        penalty: λ.
        horizon: h, steps of a rollout.
        real_ratio: share of real transitions in a batch.
        updates: of actor and critics.
        rollouts_every: updates.
        rollouts: at each time.
        rounds_kept: of rollouts.
        online_start: share of prior data when going online.
        warm_start: take the source's actor-critic where the paper starts from nothing.
    """

    penalty: float = 1.0
    horizon: int = 5
    real_ratio: float = 0.05
    updates: int = 5_000
    rollouts_every: int = 250
    rollouts: int = 2_000
    rounds_kept: int = 5
    online_start: float = 0.5
    warm_start: bool = True


@torch.no_grad()
def penalised_rollouts(
    model: WorldModel,
    state: ModelState,
    actor: Named,
    starts: Tensor,
    config: MopoConfig,
    generator: torch.Generator,
) -> Batch:
    """What the policy would live through from ``starts`` (M, O): at most M · horizon transitions.

    A rollout that terminates is not continued.
    """
    obs, parts = starts, []
    for _ in range(config.horizon):
        noise = torch.randn(obs.shape[0], model.action_size, generator=generator)
        action = act(actor, obs, noise)
        step = model.imagine(state, obs, action, generator)
        doubt = deviation(model, state, obs, action)
        reward = step.reward - config.penalty * doubt
        parts.append(Batch(obs, action, reward, step.following, step.terminated))
        obs = step.following[step.terminated == 0.0]
    return join(parts)


def deviation(model: WorldModel, state: ModelState, obs: Tensor, applied: Tensor) -> Tensor:
    """u = max_k ‖σ_k‖₂ (B,), as published in units of the observation, not normalised."""
    mean, log_var = model.predict(state, obs, applied)
    return max_std(mean, log_var + 2.0 * state.out_std.log())


def imagine_policy(
    sac: Sac,
    start: SacState,
    model: WorldModel,
    model_state: ModelState,
    real: Batch,
    config: MopoConfig,
    seed: int,
    on_update: Callable[[int], None] = lambda _: None,
) -> tuple[SacState, Batch]:
    """The policy learned in the model, and the transitions that the last rounds imagined.

    Args:
        sac: the algorithm.
        start: where it begins.
        model: the ensemble's functions.
        model_state: the ensemble, fitted to ``real``.
        real: transitions to branch off from; a few go into every minibatch.
        config: rollouts and updates.
        seed: of starts, rollouts, minibatches and noise.
        on_update: called after every update with their number.
    """
    generator = torch.Generator().manual_seed(seed)
    rounds: deque[Batch] = deque(maxlen=config.rounds_kept)
    state, pool = start, real
    few = round(config.real_ratio * sac.config.batch)
    for update in range(config.updates):
        if update % config.rollouts_every == 0:
            starts = _draw(real, config.rollouts, generator).obs
            actor = sac.actor_space.view(state.actor)
            rounds.append(penalised_rollouts(model, model_state, actor, starts, config, generator))
            pool = join(rounds)
        imagined = _draw(pool, sac.config.batch - few, generator)
        batch = join((_draw(real, few, generator), imagined))
        state, _ = sac.update(state, batch, sac.noise(generator))
        on_update(update + 1)
    return state, pool


def make_mopo(bench: Bench, config: MopoConfig = MopoConfig()) -> MixedSac:
    """An agent trained in the source model. Raises ConfigError without a source or its model."""
    source = bench.known_source()
    sac = Sac(bench.O, bench.A, bench.discount, bench.sac)
    warm = config.warm_start
    start = sac.restart(source.actor, source.critic) if warm else sac.initial(bench.seed)
    state, pool = imagine_policy(
        sac, start, bench.model, bench.known_model(), source.replay, config, bench.seed
    )
    return MixedSac(
        sac,
        state,
        pool,
        proportional(source.replay.size, config.online_start),
        bench.warmup_steps,
        bench.updates_per_step,
        bench.seed,
    )


def _draw(data: Batch, count: int, generator: torch.Generator) -> Batch:
    return data.take(torch.randint(data.size, (count,), generator=generator))
