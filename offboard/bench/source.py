"""What the source task leaves behind, once per family and seed: ``OUT/sources/FAMILY/SEED``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from offboard.baselines.episodes import returns_to_go
from offboard.bench.agent import SourceData
from offboard.bench.pairs import Pair
from offboard.bench.world import Problem, World, open_world, problem_of
from offboard.filter import FilterConfig, keep_mask, kept_transitions
from offboard.generate import GenerateConfig, generate
from offboard.model_state import ModelConfig, ModelState
from offboard.planner import PlanConfig, Planner
from offboard.replay import Batch, Replay
from offboard.rollout import actor_policy, mean_return
from offboard.run_dir import RunDir, open_run, pack, unpack
from offboard.sac import SacConfig, SacState
from offboard.train_online import OnlineConfig, fresh_start, train_online

JUDGE_SEED = 50_000
NO_FILES = "worlds are code"
GENERATE = GenerateConfig()


@dataclass(frozen=True)
class SourceRecipe:
    """Everything that decides a source run; pairs of a family share it whatever their budgets."""

    world: World
    discount: float
    sac: SacConfig
    source: OnlineConfig
    model: ModelConfig
    model_steps: int
    judge_episodes: int
    seed: int

    @staticmethod
    def of(pair: Pair, seed: int) -> SourceRecipe:
        """What of a pair's recipe concerns its source."""
        recipe = pair.recipe
        return SourceRecipe(
            pair.source, recipe.discount, recipe.sac, recipe.source, recipe.model,
            recipe.model_steps, recipe.judge_episodes, seed,
        )  # fmt: skip


class Prior(NamedTuple):
    """A source run in memory: best networks, ensemble, replay, start states and two returns."""

    sac: SacState
    model: ModelState
    replay: Batch
    starts: Tensor
    expert_return: float
    random_return: float
    steps: int

    def data(self, problem: Problem, kept: Batch) -> SourceData:
        """As the baselines take it."""
        togo = returns_to_go(self.replay, problem.discount)
        return SourceData(self.sac.actor, self.sac.critic, self.replay, togo, kept)


def source_of(pair: Pair, seed: int, out: Path) -> Prior:
    """The finished source run of a pair's family; made if it is not there yet.

    Raises:
        StoreError: the directory holds another run.
    """
    directory = out / "sources" / pair.family / str(seed)
    run = open_run(directory, SourceRecipe.of(pair, seed), NO_FILES)
    if run.result is None:
        _learn(pair, seed, run)
    tensors, result = run.load("source"), run.result or {}
    return Prior(
        unpack("sac", SacState, tensors),
        unpack("model", ModelState, tensors),
        unpack("replay", Batch, tensors),
        tensors["starts"],
        result["expert_return"],
        result["random_return"],
        result["env_steps"],
    )


def generated(
    pair: Pair, problem: Problem, prior: Prior, seed: int, config: GenerateConfig = GENERATE
) -> Batch:
    """Kept transitions of penalised planning in the source model: WOMBET's offline data."""
    sac, model = problem.sac(pair.recipe.sac), problem.world_model(pair.recipe.model)
    generator, plan = torch.Generator().manual_seed(seed), PlanConfig()
    planner = Planner(
        model, prior.model, sac.actor_space.view(prior.sac.actor),
        sac.critic_space.view(prior.sac.critic), plan, problem.discount, generator,
    )  # fmt: skip
    index = torch.randint(prior.starts.shape[0], (config.trajectories,), generator=generator)
    made = generate(
        planner, model, prior.model, prior.starts[index], plan.horizon, config, generator
    )
    keep = keep_mask(made.returns, made.uncertainty, FilterConfig())
    return kept_transitions(made, keep[:, None] & made.live)


def random_return(world: World, episodes: int) -> float:
    """Mean return of uniformly random actions."""
    env, rng = open_world(world), np.random.default_rng(0)
    A = (env.action_space.shape or (1,))[0]
    try:
        return mean_return(
            env, lambda _: rng.uniform(-1.0, 1.0, A).astype(np.float32), episodes, JUDGE_SEED
        )
    finally:
        env.close()


def _learn(pair: Pair, seed: int, run: RunDir) -> None:
    recipe, problem = pair.recipe, problem_of(pair.source, pair.recipe.discount)
    env, judge_env = open_world(pair.source), open_world(pair.source)
    sac = problem.sac(recipe.sac)
    replay = Replay(problem.layout.size, problem.layout.action_size, recipe.source.env_steps)
    trained = train_online(
        env, judge_env, sac, fresh_start(sac.initial(seed), replay, seed), recipe.source, seed
    )
    model = problem.world_model(recipe.model)
    generator = torch.Generator().manual_seed(seed)
    data = trained.replay.all()
    state = model.fit(model.initial(data, seed), data, recipe.model_steps, generator)
    starts = [torch.from_numpy(judge_env.reset(seed=JUDGE_SEED + i)[0]) for i in range(64)]
    run.save(
        "source",
        {
            **pack("sac", trained.best),
            **pack("model", state),
            **pack("replay", data),
            "starts": torch.stack(starts),
        },
    )
    policy = actor_policy(sac.actor_space, trained.best.actor)
    expert = mean_return(judge_env, policy, recipe.judge_episodes, JUDGE_SEED)
    run.finish(
        {
            "expert_return": expert,
            "random_return": random_return(pair.source, recipe.judge_episodes),
            "env_steps": trained.step,
            "model_nmse": model.nmse(state, data),
            "wall_s": trained.wall_s,
        }
    )
    env.close()
    judge_env.close()
