"""Does a Ray cluster of two nodes give what one process gives, also when workers are killed?

Run by ``make test-scale``: it needs Ray, and starting a cluster takes longer than a unit test may.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from errands import die_at_first, my_process, refuse, square, wait_at, wait_until
from made_learning import SMALL_MODEL, SMALL_SAC, linear_transitions
from made_records import ROBOT_FILE

from offboard.bench.grid import Job, run_jobs
from offboard.ensemble import fit_in_groups
from offboard.generate import GenerateConfig
from offboard.parts import parts_of
from offboard.penalty import PenaltyConfig
from offboard.planner import PlanConfig
from offboard.run_dir import RunDir
from offboard.stages.generate import OfflineConfig, make_part, run_generate
from offboard.stages.source import SourceConfig, run_source
from offboard.stages.sweep import SweepConfig, changed, run_point, run_sweep
from offboard.train_online import OnlineConfig
from offboard.workers import ATTEMPTS, Here, Pool, gathered, workers
from protocol.errors import ConfigError, StoreError, WombetError

# Ray listens on every interface and reads these when it is imported.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray: Any = pytest.importorskip("ray", reason="pip install -r requirements/scale.txt")

pytestmark = [
    pytest.mark.usefixtures("eager"),
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SUPPORT = Path(__file__).parents[1] / "support"
SHORT = SourceConfig(
    robot=ROBOT_FILE, task="swing_up", model_steps=20, holdout_steps=20, sac=SMALL_SAC,
    online=OnlineConfig(
        env_steps=60, random_steps=40, updates_per_step=1, evaluate_every=60, evaluate_episodes=1
    ),
    model=SMALL_MODEL,
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each on this machine; workers find the tests' own functions."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SUPPORT))
        patch.setenv("TORCHDYNAMO_DISABLE", "1")
        made = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        made.add_node(num_cpus=1)
        try:
            yield made
        finally:
            made.shutdown()


@pytest.fixture(scope="module")
def pool(cluster: Any) -> Iterator[Pool]:
    with workers(ray=cluster.address) as found:
        yield found


@pytest.fixture(scope="module")
def source(eager: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source run too short to be any good."""
    out = tmp_path_factory.mktemp("scale") / "source"
    online = OnlineConfig(
        env_steps=200, random_steps=100, updates_per_step=1, evaluate_every=100,
        evaluate_episodes=1,
    )  # fmt: skip
    run_source(
        SourceConfig(
            robot=ROBOT_FILE, task="swing_up", model_steps=100, holdout_steps=50, sac=SMALL_SAC,
            online=online, model=SMALL_MODEL,
        ),
        out,
    )  # fmt: skip
    return out


@pytest.fixture
def offline(source: Path) -> OfflineConfig:
    return OfflineConfig(
        robot=ROBOT_FILE, task="swing_up", source=source, executed=0.5,
        plan=PlanConfig(horizon=2), penalty=PenaltyConfig(episodes=0),
        generate=GenerateConfig(trajectories=8, steps=10), parts=2,
    )  # fmt: skip


def test_both_nodes_work(pool: Pool) -> None:
    assert pool.slots == 2
    assert gathered(pool, square, [(x,) for x in range(6)]) == [0, 1, 4, 9, 16, 25]
    assert os.getpid() not in gathered(pool, my_process, [(0,), (1,)])


def test_an_error_of_the_work_comes_back_as_it_was(pool: Pool) -> None:
    with pytest.raises(StoreError, match="the disk is full"):
        pool.submit(refuse, "the disk is full").result()


def test_generation_is_the_same_in_process_and_on_the_cluster(
    cluster: Any, offline: OfflineConfig, pool: Pool, tmp_path: Path
) -> None:
    kept = []
    for name, address in (("here", None), ("ray", cluster.address)):
        out = tmp_path / name
        run_generate(replace(offline, ray=address), out)
        kept.append((RunDir(out).load("kept"), RunDir(out).load("plane"), RunDir(out).result))
    for key in kept[0][0]:
        assert torch.equal(kept[0][0][key], kept[1][0][key]), key
    for key in kept[0][1]:
        assert torch.equal(kept[0][1][key], kept[1][1][key]), key
    assert kept[0][2] == kept[1][2]


def test_an_ensemble_is_the_same_in_process_and_on_the_cluster(pool: Pool) -> None:
    data = linear_transitions(200, seed=0)
    here, there = (
        fit_in_groups(where, ROBOT_FILE, "swing_up", SMALL_MODEL, data, 60, 5, groups=2)
        for where in (Here(), pool)
    )
    for mine, theirs in zip(here, there, strict=True):
        assert torch.equal(mine, theirs)


def test_a_part_whose_worker_is_killed_is_made_again_and_is_the_same(
    pool: Pool, offline: OfflineConfig, tmp_path: Path
) -> None:
    made = [(offline, 1.0, part, False) for part in parts_of(4, 2)]
    killed = [pool.submit(die_at_first, tmp_path, 1, make_part, *arguments) for arguments in made]
    for arguments, future in zip(made, killed, strict=True):
        here, there = make_part(*arguments), future.result()
        assert torch.equal(here.step_uncertainty, there.step_uncertainty)
        for mine, theirs in zip(here.steps, there.steps, strict=True):
            assert torch.equal(mine, theirs)
    assert len(list(tmp_path.iterdir())) >= 1


def test_a_grid_whose_worker_is_killed_gives_what_a_sweep_in_process_gives(
    pool: Pool, tmp_path: Path
) -> None:
    """Cells of the benchmark are jobs of such a grid too."""
    here, there, marks = (tmp_path / name for name in ("here", "there", "marks"))
    marks.mkdir()
    assert run_sweep(SweepConfig(SHORT, ("sac.lr=3e-4,1e-3",), seeds=1, processes=0), here) == []
    points = {f"sac.lr={value}/0": changed(SHORT, "sac.lr", value) for value in ("3e-4", "1e-3")}
    jobs = [
        Job(folder, die_at_first, (marks, 1, run_point, config, folder))
        for folder, config in points.items()
    ]
    assert [done.error for done in run_jobs(jobs, there, pool)] == [None, None]
    assert len(list(marks.iterdir())) >= 1
    for folder in points:
        mine, theirs = (RunDir(out / folder).load("source") for out in (here, there))
        assert all(torch.equal(mine[key], theirs[key]) for key in mine), folder


def test_what_ran_on_a_node_that_goes_away_is_done_on_another(
    cluster: Any, pool: Pool, tmp_path: Path
) -> None:
    going = cluster.add_node(num_cpus=1)
    signed, gate = tmp_path / "signed", tmp_path / "gate"
    signed.mkdir()
    futures = [pool.submit(wait_at, signed, gate, x) for x in range(3)]
    wait_until(lambda: len(list(signed.iterdir())) == 3, 120.0)
    cluster.remove_node(going)
    gate.touch()
    assert [future.result() for future in futures] == [0, 1, 4]
    assert len(list(signed.iterdir())) == 4


def test_work_that_kills_every_worker_is_given_up_by_name(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(WombetError, match=f"worker of die_at_first died {ATTEMPTS} times"):
        pool.submit(die_at_first, tmp_path, ATTEMPTS, square, 7).result()


def test_where_no_cluster_answers_it_is_said_how_to_start_one() -> None:
    ray.shutdown()
    with pytest.raises(ConfigError, match=r"docs/scaling\.md"), workers(ray="local"):
        pass
