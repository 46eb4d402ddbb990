"""One cell: a method on a pair with a seed. ``OUT/cells/PAIR/METHOD/SEED``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offboard.bench.agent import Agent, Bench
from offboard.bench.doubt import doubt
from offboard.bench.expert import Reference, reference_of
from offboard.bench.methods import Method, Terms, method_named
from offboard.bench.pairs import Pair
from offboard.bench.source import NO_FILES, Prior, generated, source_of
from offboard.bench.transfer_agent import TransferAgent
from offboard.bench.world import Problem, open_world, problem_of
from offboard.replay import Batch, empty
from offboard.rollout import Env, mean_return, step_env
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
    reference, prior = reference_of(cell.pair, out), source_of(cell.pair, cell.seed, out)
    problem = problem_of(cell.pair.target, cell.pair.recipe.discount)
    began = time.monotonic()
    agent = _agent(cell, method, problem, prior)
    zero_shot = _live(cell, agent, run, began, on_row)
    result = _result(cell, reference, prior, zero_shot, time.monotonic() - began)
    if isinstance(agent, TransferAgent) and (mismatch := agent.evidence.mismatch):
        course = agent.evidence.course
        result["mismatch"], result["switch"] = asdict(mismatch), course.value if course else None
        result["uncertainty"] = doubt(cell.pair, problem, prior, agent.model_state, cell.seed)
    return run.finish(result)


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
    return method.make(bench, Terms(recipe.finetune, recipe.sac, float(random)))


def _live(
    cell: Cell, agent: Agent, run: RunDir, began: float, on_row: Callable[[int, float], None]
) -> float:
    """Act, observe, and judge at every ``evaluate_every`` steps; returns the zero-shot return."""
    recipe = cell.pair.recipe
    env, judge_env = open_world(cell.pair.target), open_world(cell.pair.target)

    def judge(step: int) -> float:
        value = mean_return(
            judge_env, agent.policy(explore=False), recipe.evaluate_episodes, JUDGE_SEED
        )
        row = {"pair": cell.pair.name, "method": cell.method, "seed": cell.seed, "step": step}
        run.log(**row, episode_return=value, wall_s=round(time.monotonic() - began, 2))
        on_row(step, value)
        return value

    try:
        zero_shot = judge(0)
        obs, _ = env.reset(seed=TARGET_SEED + cell.seed)
        for step in range(1, recipe.budget_steps + 1):
            transition, obs, over = _step(env, agent, obs)
            agent.observe(transition, over)
            if over:
                obs, _ = env.reset()
            if step % recipe.evaluate_every == 0:
                judge(step)
        return zero_shot
    finally:
        env.close()
        judge_env.close()


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
        "source_steps": prior.steps,
        "wall_s": round(wall_s, 1),
    }
