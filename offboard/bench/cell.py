"""One cell: a method on a pair with a seed. ``OUT/cells/PAIR/METHOD/SEED``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from offboard.baselines.peers import train_peer
from offboard.bench.agent import Agent, Bench
from offboard.bench.doubt import doubt
from offboard.bench.expert import Reference, reference_of
from offboard.bench.methods import Method, Terms, method_named
from offboard.bench.pairs import Pair
from offboard.bench.planning_agent import PlanningAgent
from offboard.bench.source import NO_FILES, Prior, generated, source_of
from offboard.bench.switching import OURS
from offboard.bench.transfer_agent import TransferAgent
from offboard.bench.twin import copied, twin_of
from offboard.bench.world import Problem, open_world, problem_of
from offboard.replay import Batch, empty
from offboard.rollout import Env, Policy, mean_return, step_env
from offboard.run_dir import RunDir, open_run

TARGET_SEED = 7_000
"""Of a cell's training episodes, plus its own seed; judging has start states of its own."""
JUDGE_SEED = 90_000


@dataclass(frozen=True)
class Cell:
    """Names one cell."""

    pair: Pair
    method: str
    seed: int

    def directory(self, out: Path) -> Path:
        """Where it is kept."""
        return out / "cells" / self.pair.name / self.method / str(self.seed)


def run_cell(
    cell: Cell, out: Path, on_row: Callable[[int, float], None] = lambda _, __: None
) -> dict[str, Any]:
    """Run it, or return what it gave before; an interrupted one begins again.

    Raises:
        ConfigError: no such method or world.
        StoreError: the directory holds another configuration.
    """
    method = method_named(cell.method)
    run = open_run(cell.directory(out), cell, NO_FILES)
    if run.result is not None:
        return run.result
    run.forget_metrics()
    if twin := twin_of(cell.method, run.path):
        return copied(twin, cell.method, run)
    reference, prior = reference_of(cell.pair, out), source_of(cell.pair, cell.seed, out)
    cell = _given_time(cell, method)  # from here on: source and expert know nothing of it
    problem = problem_of(cell.pair.target, cell.pair.recipe.discount)
    judge = _Judge(cell, run, on_row)
    try:
        agent = _agent(cell, method, problem, prior)
        zero_shot = (
            _live_peer(cell, method.peer, judge) if method.peer else _live(cell, agent, judge)
        )
    finally:
        judge.close()
    result = _result(cell, reference, prior, zero_shot, judge.wall_s)
    if isinstance(agent, TransferAgent | PlanningAgent) and (mismatch := agent.evidence.mismatch):
        course = agent.evidence.course
        result["mismatch"], result["switch"] = asdict(mismatch), course.value if course else None
    if cell.method == OURS and isinstance(agent, TransferAgent | PlanningAgent):
        result["uncertainty"] = doubt(cell.pair, problem, prior, agent.model_state, cell.seed, out)
    return run.finish(result)


def _given_time(cell: Cell, method: Method) -> Cell:
    recipe = cell.pair.recipe
    longer = replace(recipe, budget_steps=method.budgets * recipe.budget_steps)
    return replace(cell, pair=replace(cell.pair, recipe=longer))


def _agent(cell: Cell, method: Method, problem: Problem, prior: Prior) -> Agent:
    recipe, O, A = cell.pair.recipe, problem.layout.size, problem.layout.action_size
    kept = generated(cell.pair, problem, prior, cell.seed) if method.generates else empty(O, A)
    bench = Bench(
        O=O, A=A, discount=problem.discount, source=prior.data(problem, kept),
        sac=recipe.target_sac, updates_per_step=recipe.finetune.updates_per_step,
        warmup_steps=recipe.finetune.warmup_steps, seed=cell.seed,
        model=problem.world_model(recipe.model), model_state=prior.model,
    )  # fmt: skip
    random = prior.replay.reward[: recipe.source.random_steps].mean()
    terms = Terms(recipe.finetune, recipe.sac, float(random), recipe.planner)
    return method.make(bench, terms)


class _Judge:
    """Judges policies from the same start states and writes the curve."""

    def __init__(self, cell: Cell, run: RunDir, on_row: Callable[[int, float], None]) -> None:
        self._cell, self._run, self._on_row = cell, run, on_row
        self._env = open_world(cell.pair.target)
        self._began = time.monotonic()

    @property
    def wall_s(self) -> float:
        """Since the cell began."""
        return time.monotonic() - self._began

    def value(self, policy: Policy) -> float:
        """Mean return of ``policy``."""
        return mean_return(self._env, policy, self._cell.pair.recipe.evaluate_episodes, JUDGE_SEED)

    def row(self, step: int, value: float) -> float:
        """Write a point of the curve; returns it."""
        cell = self._cell
        names = {"pair": cell.pair.name, "method": cell.method, "seed": cell.seed, "step": step}
        self._run.log(**names, episode_return=value, wall_s=round(self.wall_s, 2))
        self._on_row(step, value)
        return value

    def close(self) -> None:
        """Give the environment back."""
        self._env.close()


def _live(cell: Cell, agent: Agent, judge: _Judge) -> float:
    """Act, observe, and judge at every ``evaluate_every`` steps; returns the zero-shot return."""
    recipe, env = cell.pair.recipe, open_world(cell.pair.target)
    try:
        zero_shot = judge.row(0, judge.value(agent.policy(explore=False)))
        obs, _ = env.reset(seed=TARGET_SEED + cell.seed)
        for step in range(1, recipe.budget_steps + 1):
            transition, obs, over = _step(env, agent, obs)
            agent.observe(transition, over)
            if over:
                obs, _ = env.reset()
            if step % recipe.evaluate_every == 0:
                judge.row(step, judge.value(agent.policy(explore=False)))
        return zero_shot
    finally:
        env.close()


def _live_peer(cell: Cell, algorithm: str, judge: _Judge) -> float:
    """An outside learner, which owns its loop; returns what it was worth untrained."""
    recipe, env = cell.pair.recipe, open_world(cell.pair.target)
    try:
        rows = train_peer(
            algorithm, env, judge.value, recipe.budget_steps, recipe.evaluate_every, cell.seed
        )
        curve = [judge.row(step, value) for step, value in rows]
        return curve[0]
    finally:
        env.close()


def _step(env: Env, agent: Agent, obs: Any) -> tuple[Batch, Any, bool]:
    return step_env(env, obs, agent.policy(explore=True)(obs))


def _result(
    cell: Cell, reference: Reference, prior: Prior, zero_shot: float, wall_s: float
) -> dict[str, Any]:
    return {
        "pair": cell.pair.name,
        "method": cell.method,
        "seed": cell.seed,
        "budget_steps": cell.pair.recipe.budget_steps,
        "zero_shot": zero_shot,
        "threshold": reference.threshold,
        "expert_return": reference.expert_return,
        "random_return": reference.random_return,
        "source_gain": reference.source_gain,
        "source_steps": prior.steps,
        "wall_s": round(wall_s, 1),
    }
