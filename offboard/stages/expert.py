"""``wombet-offboard expert``: the reference of a target, trained in its simulator.

The source's actor and critic are fine-tuned in the target with more experience than the robot will
have; the best snapshot's return over fresh episodes is what "solved" means there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offboard.event_files import mirrored
from offboard.progress import bar
from offboard.replay import Replay
from offboard.rollout import ENV_ID, actor_policy, make_env, mean_return
from offboard.run_dir import open_run, pack
from offboard.sac import SacConfig
from offboard.stages.source import JUDGE_EPISODES, JUDGE_SEED, load_source
from offboard.task_setup import load_task
from offboard.train_online import OnlineConfig, TrainState, fresh_start, train_online

NOT_OUTCOME = frozenset({"device", "tensorboard"})


@dataclass(frozen=True)
class ExpertConfig:
    """Budget: some 8,000 target steps from the source policy reach the plateau (LEARNING § 5.3).

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        task: of the robot file.
        body: which plant.bodies table is the target.
        source: --out of the source stage.
        seed: of everything random; the same seed gives the same result.
        env_id: the simulator, MODULE:NAME as gymnasium registers it.
        device: to learn on, as PyTorch calls it: cpu, or cuda.
        tensorboard: write TensorBoard event files too.
    """

    robot: Path
    task: str
    body: str
    source: Path
    seed: int = 0
    env_id: str = ENV_ID
    sac: SacConfig = field(default_factory=lambda: SacConfig(alpha_min=0.03))
    online: OnlineConfig = field(
        default_factory=lambda: OnlineConfig(
            env_steps=9_000, random_steps=0, updates_per_step=3, evaluate_every=500
        )
    )
    device: str = "cpu"
    tensorboard: bool = False


def run_expert(config: ExpertConfig, out: Path) -> dict[str, Any]:
    """Train and judge, the source policy too; resume from the last checkpoint if there is one.

    Raises:
        StoreError: ``out`` holds another run, or the source stage is not finished.
        ConfigError: robot or task are wrong, or there is no such device.
    """
    setup = load_task(config.robot, config.task, config.device)
    source = load_source(config.source, setup)
    run = open_run(out, config, setup.files_sha256, free=NOT_OUTCOME)
    if run.result is not None:
        return run.result
    sac = setup.sac(config.sac)
    env, judge_env = (
        make_env(config.robot, config.task, config.body, config.env_id) for _ in range(2)
    )
    replay = Replay(
        setup.layout.size, setup.layout.action_size, config.online.env_steps, setup.device
    )
    if run.has("training"):
        state = TrainState.from_tensors(run.load("training"), replay)
    else:
        start = sac.restart(source.sac.actor, source.sac.critic)
        state = fresh_start(start, replay, config.seed)
    title = f"expert in {config.body}"
    with mirrored(run, config.tensorboard), bar(title, config.online.env_steps) as progress:

        def on_step(train: TrainState) -> None:
            progress(train.step, f"return {train.latest:.0f}, best {train.best_return:.0f}")
            if train.step % config.online.evaluate_every == 0:
                run.log(stage="expert", **train.row())
                run.save("training", train.tensors())

        trained = train_online(env, judge_env, sac, state, config.online, config.seed, on_step)
    run.save("expert", pack("sac", trained.best))
    returns = {
        name: mean_return(
            judge_env, actor_policy(sac.actor_space, state.actor), JUDGE_EPISODES, JUDGE_SEED
        )
        for name, state in (("expert_return", trained.best), ("zero_shot_return", source.sac))
    }
    return run.finish({**returns, "env_steps": trained.step, "wall_s": round(trained.wall_s, 1)})
