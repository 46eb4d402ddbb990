"""The reference expert of a pair: what the target is worth to one who has time. Once per pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from offboard.bench.pairs import Pair, Start
from offboard.bench.source import JUDGE_SEED, NO_FILES, Prior, random_return, source_of
from offboard.bench.world import Problem, open_world, problem_of
from offboard.replay import Replay
from offboard.rollout import Policy, actor_policy, mean_return
from offboard.run_dir import open_run
from offboard.sac import Sac, SacState
from offboard.train_online import OnlineConfig, fresh_start, train_online
from protocol.errors import ConfigError

EXPERT_SEED = 1_000
"""Beyond every evaluation seed; its source run is made for it alone."""
SOLVED = 0.8
REACHABLE = 0.25
"""Share of the source expert's gain over random actions that a target's expert must gain itself.

Below it the target is another task, or none: its expert does not stand for solving it.
"""


@dataclass(frozen=True)
class ExpertRecipe:
    """Everything that decides an expert."""

    pair: Pair


class Reference(NamedTuple):
    """Returns of the target's expert and of random actions there.

    ``source_gain`` is what the source's expert earns above random actions at home.
    """

    expert_return: float
    random_return: float
    source_gain: float

    @property
    def threshold(self) -> float | None:
        """What counts as solved: 80 % of the way from random to expert; None if not reachable."""
        gain = self.expert_return - self.random_return
        if gain < REACHABLE * self.source_gain or gain <= 0.0:
            return None
        return self.random_return + SOLVED * gain


def reference_of(pair: Pair, out: Path) -> Reference:
    """The finished reference of a pair; trained if it is not there yet.

    It is the best of those the pair names: trained on from the source's networks, trained afresh,
    or the source's expert with every action's sign changed, which is exactly the expert of a body
    whose wires are crossed. A trained one has several times the budget of a cell.

    Raises:
        ConfigError: the source itself was not learned.
        StoreError: the directory holds another run.
    """
    run = open_run(out / "experts" / pair.name, ExpertRecipe(pair), NO_FILES)
    result = run.result or run.finish(_made(pair, source_of(pair, EXPERT_SEED, out)))
    return Reference(*(result[name] for name in Reference._fields))


def _made(pair: Pair, prior: Prior) -> dict[str, Any]:
    if prior.expert_return <= prior.random_return:
        raise ConfigError(
            f"{pair.family}: the source's expert earns no more than random actions; give the "
            "recipe more source steps"
        )
    returns = {start: _EXPERTS[start](pair, prior) for start in pair.expert_from}
    return {
        "expert_return": max(returns.values()),
        "random_return": random_return(pair.target, pair.recipe.judge_episodes),
        "source_gain": prior.expert_return - prior.random_return,
        "experts": returns,
    }


def _continued(pair: Pair, prior: Prior) -> float:
    sac = _problem(pair).sac(pair.recipe.target_sac)
    start = sac.restart(prior.sac.actor, prior.sac.critic)
    return _trained(pair, sac, start, pair.recipe.expert)


def _fresh(pair: Pair, prior: Prior) -> float:
    sac = _problem(pair).sac(pair.recipe.sac)
    return _trained(pair, sac, sac.initial(EXPERT_SEED), pair.recipe.source)


def _mirrored(pair: Pair, prior: Prior) -> float:
    sac = _problem(pair).sac(pair.recipe.sac)
    choose = actor_policy(sac.actor_space, prior.sac.actor)
    return _judged(pair, lambda obs: np.negative(choose(obs)))


_EXPERTS: dict[Start, Callable[[Pair, Prior], float]] = {
    "source": _continued,
    "scratch": _fresh,
    "mirror": _mirrored,
}


def _problem(pair: Pair) -> Problem:
    return problem_of(pair.target, pair.recipe.discount)


def _trained(pair: Pair, sac: Sac, start: SacState, config: OnlineConfig) -> float:
    """Return of the best snapshot of a run in the target."""
    env, judge_env = open_world(pair.target), open_world(pair.target)
    replay = Replay(_problem(pair).layout.size, sac.action_size, config.env_steps)
    try:
        trained = train_online(
            env, judge_env, sac, fresh_start(start, replay, EXPERT_SEED), config, EXPERT_SEED
        )
    finally:
        env.close()
        judge_env.close()
    return _judged(pair, actor_policy(sac.actor_space, trained.best.actor))


def _judged(pair: Pair, policy: Policy) -> float:
    env = open_world(pair.target)
    try:
        return mean_return(env, policy, pair.recipe.judge_episodes, JUDGE_SEED)
    finally:
        env.close()
