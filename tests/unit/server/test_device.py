"""Is everything that learns made on the device asked for, and is the outcome the CPU's?

The device is one of ``other_device.py``, where a tensor that was made elsewhere is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, SMALL_SAC, A, O, linear_transitions
from made_records import ROBOT_FILE
from other_device import OTHER, OtherDevice

from offboard.adaptation import WAYS
from offboard.device import moved, the_device
from offboard.distributed import backend_of, device_of
from offboard.finetune import FinetuneConfig, Learner
from offboard.generate import GenerateConfig
from offboard.model_state import ModelState
from offboard.penalty import PenaltyConfig
from offboard.planner import PlanConfig
from offboard.run_dir import RunDir
from offboard.sac import Sac, SacState
from offboard.sampling import SamplingConfig
from offboard.stages import expert, source
from offboard.stages.expert import ExpertConfig, run_expert
from offboard.stages.generate import OfflineConfig, run_generate
from offboard.stages.serve import run_serve
from offboard.stages.serve_wiring import ServeConfig
from offboard.stages.source import SourceConfig, run_source
from offboard.switch import Course
from offboard.train_online import OnlineConfig
from offboard.world_model import WorldModel
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

ONLINE = OnlineConfig(
    env_steps=50, random_steps=40, updates_per_step=1, evaluate_every=50, evaluate_episodes=1
)
SOURCE = SourceConfig(
    robot=ROBOT_FILE, task="swing_up", model_steps=10, holdout_steps=30, sac=SMALL_SAC,
    online=ONLINE, model=replace(SMALL_MODEL, residual=8),
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(eager: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source, generation and expert, once on the CPU and once on the other device."""
    out = tmp_path_factory.mktemp("devices")
    with pytest.MonkeyPatch.context() as patch, OtherDevice():
        patch.setattr(source, "JUDGE_EPISODES", 1)
        patch.setattr(expert, "JUDGE_EPISODES", 1)
        for name in ("cpu", OTHER.type):
            _run_stages(out / name, name)
    return out


def _run_stages(out: Path, device: str) -> None:
    run_source(replace(SOURCE, device=device), out / "source")
    run_generate(
        OfflineConfig(
            robot=ROBOT_FILE, task="swing_up", source=out / "source", executed=0.5,
            plan=PlanConfig(horizon=2),
            penalty=PenaltyConfig(episodes=12, fresh_episodes=2, steps=5),
            generate=GenerateConfig(trajectories=8, steps=6), device=device,
        ),
        out / "generate",
    )  # fmt: skip
    run_expert(
        ExpertConfig(
            robot=ROBOT_FILE, task="swing_up", body="target", source=out / "source",
            sac=SMALL_SAC, online=ONLINE, device=device,
        ),
        out / "expert",
    )  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("stage", "name"), [("source", "source"), ("generate", "kept"), ("expert", "expert")]
)
def test_a_stage_gives_on_another_device_what_it_gives_on_the_cpu(
    runs: Path, stage: str, name: str
) -> None:
    here, there = (RunDir(runs / device / stage).load(name) for device in ("cpu", OTHER.type))
    assert here.keys() == there.keys()
    for key, value in here.items():
        assert torch.equal(value, there[key]), key


def _learned(device: torch.device) -> dict[str, torch.Tensor]:
    """A checkpoint of a learner that adapted, trained, was restored, and trained again."""
    sac = Sac(O, A, 0.98, SMALL_SAC, device=device)
    model = WorldModel(LAYOUT, JUDGE, replace(SMALL_MODEL, residual=8), device)
    prior = moved(linear_transitions(300, seed=0), device)
    config = FinetuneConfig(
        warmup_steps=20, adapt_every=60, adapt_steps=20, capacity=100, ways=tuple(WAYS),
        course=Course.RELABEL, sampling=SamplingConfig(nmse_useless=100.0),
    )  # fmt: skip
    tensors: dict[str, torch.Tensor] = {}
    for seed in (1, 2):
        start = model.initial(prior, seed=0)
        learner = Learner(sac, model, sac.initial(seed=1), start, prior, config, seed=0)
        if tensors:
            learner.restore({name: value.cpu() for name, value in tensors.items()})
        learner.observe(linear_transitions(70, seed=seed, gain=0.6))
        learner.adapt()
        learner.observe(linear_transitions(10, seed=seed + 5, gain=0.6))
        learner.train(5)
        tensors = learner.tensors()
        assert learner.evidence.offline_fraction > 0.0
    return tensors


@pytest.mark.timeout(120)
def test_a_learner_gives_on_another_device_what_it_gives_on_the_cpu() -> None:
    with OtherDevice():
        here, there = _learned(torch.device("cpu")), _learned(OTHER)
        for name, value in here.items():
            assert torch.equal(value, there[name].cpu()), name


def test_networks_and_models_live_on_the_device_they_were_made_for() -> None:
    with OtherDevice():
        sac = Sac(O, A, 0.98, SMALL_SAC, device=OTHER)
        model = WorldModel(LAYOUT, JUDGE, SMALL_MODEL, OTHER)
        data = moved(linear_transitions(100, seed=0), OTHER)
        states = (sac.initial(seed=0), model.initial(data, seed=0))
        assert {part.device for state in states for part in state} == {OTHER}


def test_the_other_device_refuses_what_a_gpu_refuses() -> None:
    """Otherwise nothing above would prove anything."""
    with OtherDevice():
        there = torch.ones(3).to(OTHER)
        assert float(there.sum()) == 3.0
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        with pytest.raises(RuntimeError, match="generator"):
            torch.randn(3, generator=torch.Generator(), device=OTHER)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
def test_a_gpu_that_is_not_there_is_told_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"--device cuda: .*give --device cpu"):
        the_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "meta", ""])
def test_what_cannot_compute_is_no_device(name: str) -> None:
    with pytest.raises(ConfigError, match="give --device cpu"):
        the_device(name)


@pytest.mark.parametrize(
    ("device", "own", "backend"), [("cpu", "cpu", "gloo"), ("cuda", "cuda:3", "nccl")]
)
def test_each_worker_of_a_machine_has_a_gpu_of_its_own(device: str, own: str, backend: str) -> None:
    assert device_of(device, local_rank=3) == own
    assert backend_of(torch.device(own)) == backend


def test_what_works_on_the_cpu_only_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--groups works on the CPU"):
        run_source(replace(SOURCE, groups=2, device="cuda"), tmp_path)
    offline = OfflineConfig(
        robot=ROBOT_FILE, task="swing_up", source=tmp_path, parts=2, device="cuda"
    )
    with pytest.raises(ConfigError, match="--parts works on the CPU"):
        run_generate(offline, tmp_path)
    serve = ServeConfig(
        robot=ROBOT_FILE, task="swing_up", unit="a", source=tmp_path, generated=tmp_path,
        keys=tmp_path, policy="planner", device="cuda",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="--policy planner works on the CPU"):
        run_serve(serve, tmp_path)


def test_named_tuples_move_as_they_are() -> None:
    kinds = (SacState, ModelState)
    for kind in kinds:
        state = kind(*(torch.ones(2) for _ in kind._fields))
        assert isinstance(moved(state, torch.device("cpu")), kind)
