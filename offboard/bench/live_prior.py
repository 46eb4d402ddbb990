"""A source run of the benchmark as ``serve`` takes it: what the stages before would have left."""

from __future__ import annotations

from pathlib import Path

from offboard.bench.pairs import Pair
from offboard.bench.source import Prior
from offboard.generate import GenerateConfig
from offboard.replay import empty
from offboard.run_dir import open_run, pack
from offboard.stages.generate import OfflineConfig
from offboard.stages.source import SourceConfig
from offboard.task_setup import TaskSetup


def write_source(pair: Pair, prior: Prior, setup: TaskSetup, seed: int, path: Path) -> None:
    """The source stage's run at ``path``. Raises StoreError if that holds something else."""
    recipe, world = pair.recipe, pair.source.options
    config = SourceConfig(
        robot=Path(world["robot"]), task=setup.task, seed=seed, body=world["body"],
        model_steps=recipe.model_steps, sac=recipe.sac, online=recipe.source, model=recipe.model,
    )  # fmt: skip
    run = open_run(path, config, setup.files_sha256)
    run.save(
        "source",
        {
            **pack("sac", prior.sac),
            **pack("model", prior.model),
            **pack("replay", prior.replay),
            "starts": prior.starts,
        },
    )
    run.finish({"env_steps": prior.steps, "expert_return": prior.expert_return})


def write_nothing_generated(setup: TaskSetup, robot: Path, source: Path, path: Path) -> None:
    """A generation of no trajectories: the benchmark's learner takes the source's replay alone."""
    config = OfflineConfig(robot, setup.task, source, generate=GenerateConfig(trajectories=0))
    run = open_run(path, config, setup.files_sha256)
    nothing = empty(setup.layout.size, setup.layout.action_size)
    run.save("kept", pack("kept", nothing))
    run.finish({"trajectories": 0, "kept": 0})
