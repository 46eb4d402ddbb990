"""Does a run directory resume what it holds, refuse what it does not, and survive a crash?"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from offboard.run_dir import RunDir, entry, existing_run, open_run, pack, to_json, unpack
from protocol.errors import StoreError


@dataclass(frozen=True)
class Part:
    lr: float = 1e-3
    sizes: tuple[int, ...] = (1, 2)


INPUTS = "1" * 64


@dataclass(frozen=True)
class Config:
    robot: Path = Path("robot.toml")
    seed: int = 0
    limit: float = float("inf")
    part: Part = field(default_factory=Part)


class State(NamedTuple):
    weights: Tensor
    step: Tensor


def test_a_run_remembers_its_config_and_commit(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", Config(), INPUTS)
    content = json.loads((run.path / "config.json").read_text())
    assert content["config"]["part"] == {"lr": 1e-3, "sizes": [1, 2]}
    assert content["commit"]
    assert run.config == content["config"]


def test_the_same_config_resumes(tmp_path: Path) -> None:
    open_run(tmp_path, Config(), INPUTS).finish({"score": 1.5})
    assert open_run(tmp_path, Config(), INPUTS).result == {"score": 1.5}


@pytest.mark.parametrize(
    "other",
    [Config(seed=1), Config(robot=Path("other.toml")), Config(part=Part(sizes=(1,)))],
    ids=["seed", "robot", "part"],
)
def test_another_config_is_refused_by_key_and_nothing_is_touched(
    tmp_path: Path, other: Config, request: pytest.FixtureRequest
) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(StoreError, match=f"another {request.node.callspec.id};"):
        open_run(tmp_path, other, INPUTS)
    assert (run.path / "config.json").read_bytes() == before


def test_edited_input_files_are_another_run(tmp_path: Path) -> None:
    open_run(tmp_path, Config(), INPUTS)
    with pytest.raises(StoreError, match="another inputs;"):
        open_run(tmp_path, Config(), "0" * 64)


def test_what_does_not_decide_the_outcome_may_differ(tmp_path: Path) -> None:
    open_run(tmp_path, Config(), INPUTS)
    open_run(tmp_path, Config(seed=1), INPUTS, free=frozenset({"seed"}))


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file/run cannot be made"):
        open_run(tmp_path / "file" / "run", Config(), INPUTS)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"], ids=repr)
def test_a_damaged_config_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"config\.json"):
        open_run(tmp_path, Config(), INPUTS)


def test_a_config_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StoreError, match="another inputs, part, robot, seed"):
        open_run(tmp_path, Config(), INPUTS)


def test_an_unfinished_stage_cannot_be_built_upon(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    assert run.result is None
    with pytest.raises(StoreError, match="no finished stage"):
        existing_run(tmp_path)
    run.finish({})
    assert existing_run(tmp_path).result == {}


def test_metrics_are_appended_line_by_line(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    run.log(step=1, loss=0.5)
    run.log(step=2, loss=float("nan"), where=tmp_path)
    assert run.metrics() == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": None, "where": str(tmp_path)},
    ]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    run.log(step=1)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.metrics() == [{"step": 1}]


@pytest.mark.parametrize("torn", ['{"step": 2, "lo', ""])
def test_a_resumed_run_does_not_glue_its_next_line_to_a_torn_one(tmp_path: Path, torn: str) -> None:
    open_run(tmp_path, Config(), INPUTS).log(step=1)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    run = open_run(tmp_path, Config(), INPUTS)
    run.log(step=2)
    assert run.metrics() == [{"step": 1}, {"step": 2}]


def test_no_metrics_are_no_lines(tmp_path: Path) -> None:
    assert open_run(tmp_path, Config(), INPUTS).metrics() == []


def test_a_checkpoint_survives_the_way(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    state = State(torch.randn(3, 4).T, torch.tensor(7.0))
    assert not run.has("state")
    run.save("state", pack("sac", state))
    assert run.has("state")
    restored = unpack("sac", State, run.load("state"))
    assert torch.equal(restored.weights, state.weights)
    assert float(restored.step) == 7.0


def test_one_tensor_may_stand_under_two_names(tmp_path: Path) -> None:
    """At the start of a run the present and the best snapshot are one."""
    run = open_run(tmp_path, Config(), INPUTS)
    shared = torch.arange(3.0)
    run.save("state", {"now": shared, "best": shared, "part": shared[1:]})
    assert run.load("state")["best"].tolist() == [0.0, 1.0, 2.0]
    assert run.load("state")["part"].tolist() == [1.0, 2.0]


def test_a_view_is_saved_without_the_rest_of_its_memory(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    run.save("state", {"part": torch.zeros(1_000_000)[:4]})
    assert (tmp_path / "state.safetensors").stat().st_size < 1_000


@pytest.mark.parametrize("damage", [None, b"", b"junk" * 100], ids=["missing", "empty", "junk"])
def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path: Path, damage: bytes | None) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    if damage is not None:
        (tmp_path / "state.safetensors").write_bytes(damage)
    with pytest.raises(StoreError, match=r"state\.safetensors"):
        run.load("state")


def test_a_checkpoint_cut_short_is_named(tmp_path: Path) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    run.save("state", {"x": torch.zeros(100)})
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StoreError, match=r"state\.safetensors"):
        run.load("state")


def test_an_entry_that_is_missing_is_named() -> None:
    tensors = pack("sac", State(torch.zeros(1), torch.zeros(1)))
    del tensors["sac.step"]
    with pytest.raises(StoreError, match=r"sac\.step"):
        unpack("sac", State, tensors)
    with pytest.raises(StoreError, match="starts"):
        entry(tensors, "starts")


def test_a_crash_before_the_rename_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch) -> None:
    run = open_run(tmp_path, Config(), INPUTS)
    run.save("state", {"x": torch.zeros(2)})

    def power_cut(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", power_cut)
        with pytest.raises(KeyboardInterrupt):
            run.save("state", {"x": torch.ones(2)})
    assert run.load("state")["x"].tolist() == [0.0, 0.0]
    run.save("state", {"x": torch.ones(2)})
    assert run.load("state")["x"].tolist() == [1.0, 1.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "state.safetensors"]


def test_a_result_is_synced_to_the_disk_before_it_is_believed(tmp_path: Path, monkeypatch) -> None:
    run, order = open_run(tmp_path, Config(), INPUTS), []
    fsync, move = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), fsync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda a, b: (order.append("rename"), move(a, b))[1])
    run.finish({})
    assert order == ["sync", "rename", "sync"]


def test_json_holds_paths_as_text_and_no_number_that_is_none() -> None:
    content = {"a": Path("/x"), "b": [float("inf"), (1.0, float("nan"))], 3: {"c": None}}
    assert json.loads(to_json(content)) == {"a": "/x", "b": [None, [1.0, None]], "3": {"c": None}}


def test_a_resumed_infinite_limit_is_the_same_config(tmp_path: Path) -> None:
    open_run(tmp_path, Config(), INPUTS)
    assert isinstance(open_run(tmp_path, replace(Config()), INPUTS), RunDir)
