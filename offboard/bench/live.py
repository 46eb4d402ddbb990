"""The flagship's cells: the robot learns in the real-time loop, every part a process of its own.

A cell is one zero-shot episode, exploring ones until no further whole one fits into the budget of
target steps, and then the final policy's, from which nothing is learned any more. Its curve has two
points: zero-shot, and the mean of the final episodes at the budget. Motion takes its time, and two
cells at once would disturb each other: they run one after another, on a machine left alone.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from offboard.bench.cell import TARGET_SEED, Cell
from offboard.bench.expert import Reference, reference_of
from offboard.bench.live_prior import write_nothing_generated, write_source
from offboard.bench.live_score import account, finals, learned_steps, reasons_against, zero_shot
from offboard.bench.pairs import lock_step_of
from offboard.bench.source import NO_FILES, Prior, source_of
from offboard.demo.loop import BELOW_ROBOT, Loop, deaths, learner_cpus, running
from offboard.demo.processes import ProcessError
from offboard.run_dir import RunDir, existing_run, open_run
from offboard.serve_status import as_rows, read_status
from offboard.session_plan import SessionConfig
from offboard.stages.serve_wiring import ServeConfig
from offboard.switch import Course
from offboard.task_setup import load_task
from protocol.errors import ConfigError, StoreError

Json = dict[str, Any]

BUDGET_STEPS = 2_000
FINAL_EPISODES = 5
EPISODES_MAX = 1_000
"""The budget of steps ends a session, not the number of its episodes."""
ADAPT_EVERY = 240
"""A little less than an episode's steps, so that the model adapts while the robot goes home."""
TIMEOUT_S = 400.0
ENDPOINT = "tcp://127.0.0.1:5572"
UNIT = "furuta-01"


@dataclass(frozen=True)
class LiveMethod:
    """How the server learns and what the robot gets."""

    policy: Literal["actor", "planner"] = "actor"
    course: Course | None = None


LIVE_METHODS = {
    "ours": LiveMethod(policy="planner"),
    "ours_actor": LiveMethod(),
    "ft": LiveMethod(course=Course.FINETUNE),
    "raw": LiveMethod(course=Course.RAW),
}
"""The robot gets the planner: on tuning seeds 100-102 it reached 90 % of the expert in three of
three sessions of 2,000 steps in lock-step, the actor in two. Chosen before seeds 0-9 ran.
"""


def live_method_named(name: str) -> LiveMethod:
    """Raises ConfigError listing the methods if there is none of that name."""
    if name not in LIVE_METHODS:
        raise ConfigError(f"no method {name!r} in real time; methods are {sorted(LIVE_METHODS)}")
    return LIVE_METHODS[name]


@dataclass(frozen=True)
class LiveRecipe:
    """Everything that decides a live cell, beside its pair's source and expert."""

    cell: Cell
    method: LiveMethod
    budget_steps: int = BUDGET_STEPS
    final_episodes: int = FINAL_EPISODES
    adapt_every: int = ADAPT_EVERY


def run_live_cell(cell: Cell, out: Path, endpoint: str = ENDPOINT) -> Json:
    """Run it, or return what it gave before; an interrupted one begins again.

    Raises:
        ConfigError: no such method.
        StoreError: the directory holds another configuration.
        ProcessError: a process died, or the loop did not hold and its figures mean nothing.
    """
    recipe = LiveRecipe(cell, live_method_named(cell.method))
    run = open_run(cell.directory(out), recipe, NO_FILES)
    if run.result is not None:
        return run.result
    run.forget_metrics()
    prior = source_of(cell.pair, cell.seed, out)
    reference = reference_of(lock_step_of(cell.pair), out)
    began = time.monotonic()
    loop = _prepared(recipe, prior, run.path / "loop", endpoint)
    curve, live = _measured(recipe, loop, _worked(recipe, loop))
    wall_s = round(time.monotonic() - began, 1)
    _write_curve(run, cell, curve, wall_s)
    return run.finish({**_result(recipe, reference, prior, curve), "wall_s": wall_s, "live": live})


def serve_config(recipe: LiveRecipe, place: Path, endpoint: str) -> ServeConfig:
    """The server's configuration: the pair's recipe, as in lock-step, and the method's part.

    Whatever was learned explores next, without a gate: between two episodes the lock-step learner
    changes its policy in the same way.
    """
    pair, method = recipe.cell.pair, recipe.method
    robot, task = Path(pair.target.options["robot"]), pair.target.options["task"]
    learning = replace(pair.recipe.finetune, course=method.course, adapt_every=recipe.adapt_every)
    session = SessionConfig(
        zero_shot_episodes=1, episodes=EPISODES_MAX, final_episodes=1, publish_every=0,
        gate_ratio=0.0, target_steps=recipe.budget_steps,
    )  # fmt: skip
    return ServeConfig(
        robot=robot, task=task, unit=UNIT, source=place / "source",
        generated=place / "generate", keys=place / "keys", endpoint=endpoint,
        seed=recipe.cell.seed, cpus=learner_cpus(robot), nice=BELOW_ROBOT, policy=method.policy,
        sac=pair.recipe.target_sac, finetune=learning, session=session, page_port=0,
    )  # fmt: skip


def _prepared(recipe: LiveRecipe, prior: Prior, place: Path, endpoint: str) -> Loop:
    """An empty ``place`` with what the stages before ``serve`` would have left in it."""
    shutil.rmtree(place, ignore_errors=True)
    pair, seed = recipe.cell.pair, recipe.cell.seed
    serve = serve_config(recipe, place, endpoint)
    setup = load_task(serve.robot, serve.task)
    write_source(pair, prior, setup, seed, serve.source)
    write_nothing_generated(setup, serve.robot, serve.source, serve.generated)
    return Loop(serve, pair.target.options["body"], TARGET_SEED + seed, place)


def _worked(recipe: LiveRecipe, loop: Loop) -> Json:
    """Let the robot work until its final episodes are there; the control process's last status."""
    with running(loop) as robot:
        robot.until(lambda s: len(finals(s.episodes)) >= recipe.final_episodes, TIMEOUT_S)
        return robot.stop()


def _measured(recipe: LiveRecipe, loop: Loop, control: Json) -> tuple[dict[int, float], Json]:
    """Return by target step, and how the loop held. Raises ProcessError if it did not."""
    served, status = existing_run(loop.out / "serve"), read_status(loop.out / "serve")
    if status is None:
        raise StoreError(f"{loop.out / 'serve'}: the server's status is gone")
    plant = json.loads((loop.out / "plant.json").read_text(encoding="utf-8"))
    live = {
        "policy": recipe.method.policy,
        "learned_steps": learned_steps(served.metrics()),
        **account(control, plant, served.result or {}),
        "evidence": asdict(status.evidence),
        "restarts": deaths(loop),
        "episodes": as_rows(status.episodes),
    }
    returns = finals(status.episodes)[: recipe.final_episodes]
    if reasons := reasons_against(live, returns, recipe.final_episodes, recipe.budget_steps):
        raise ProcessError(f"{'; '.join(reasons)}: run it again on a machine left alone")
    return {0: zero_shot(status.episodes), recipe.budget_steps: mean(returns)}, live


def _names(cell: Cell) -> Json:
    return {"pair": cell.pair.name, "method": cell.method, "seed": cell.seed}


def _write_curve(run: RunDir, cell: Cell, curve: dict[int, float], wall_s: float) -> None:
    for step, value in curve.items():
        run.log(**_names(cell), step=step, episode_return=value, wall_s=wall_s)


def _result(
    recipe: LiveRecipe, reference: Reference, prior: Prior, curve: dict[int, float]
) -> Json:
    return {
        **_names(recipe.cell),
        "budget_steps": recipe.budget_steps,
        "zero_shot": curve[0],
        "threshold": reference.threshold,
        "expert_return": reference.expert_return,
        "random_return": reference.random_return,
        "source_gain": reference.source_gain,
        "source_steps": prior.steps,
    }
