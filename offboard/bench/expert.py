"""The reference expert of a pair: what the target is worth to one who has time. Once per pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from offboard.bench.pairs import Pair
from offboard.bench.source import JUDGE_SEED, NO_FILES, random_return, source_of
from offboard.bench.world import open_world, problem_of
from offboard.replay import Replay
from offboard.rollout import actor_policy, mean_return
from offboard.run_dir import open_run
from offboard.train_online import fresh_start, train_online

EXPERT_SEED = 1_000
"""Beyond every evaluation seed; its source run is made for it alone."""
SOLVED = 0.8


@dataclass(frozen=True)
class ExpertRecipe:
    """Everything that decides an expert."""

    pair: Pair


class Reference(NamedTuple):
    """Returns of the target's expert and of random actions there."""

    expert_return: float
    random_return: float

    @property
    def threshold(self) -> float:
        """What counts as solved: 80 % of the way from random to expert."""
        return self.random_return + SOLVED * (self.expert_return - self.random_return)


def reference_of(pair: Pair, out: Path) -> Reference:
    """The finished reference of a pair; trained if it is not there yet.

    It starts from the source's networks, or afresh where those are no help (``expert_from``), and
    has several times the budget of a cell.
    """
    run = open_run(out / "experts" / pair.name, ExpertRecipe(pair), NO_FILES)
    result = run.result or run.finish(_train(pair, out))
    return Reference(result["expert_return"], result["random_return"])


def _train(pair: Pair, out: Path) -> dict[str, float]:
    recipe, problem = pair.recipe, problem_of(pair.target, pair.recipe.discount)
    sac, config = problem.sac(recipe.target_sac), recipe.expert
    if pair.expert_from == "source":
        prior = source_of(pair, EXPERT_SEED, out)
        start = sac.restart(prior.sac.actor, prior.sac.critic)
    else:
        sac, config = problem.sac(recipe.sac), recipe.source
        start = sac.initial(EXPERT_SEED)
    env, judge_env = open_world(pair.target), open_world(pair.target)
    replay = Replay(problem.layout.size, problem.layout.action_size, config.env_steps)
    trained = train_online(
        env, judge_env, sac, fresh_start(start, replay, EXPERT_SEED), config, EXPERT_SEED
    )
    policy = actor_policy(sac.actor_space, trained.best.actor)
    expert = mean_return(judge_env, policy, recipe.judge_episodes, JUDGE_SEED)
    env.close()
    judge_env.close()
    return {
        "expert_return": expert,
        "random_return": random_return(pair.target, recipe.judge_episodes),
        "env_steps": trained.step,
        "wall_s": trained.wall_s,
    }
