"""Do the commands fit together: record → archive → export → import → a source to plan in?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_data import SETUP, episode, write_archive
from made_learning import SMALL_MODEL, SMALL_SAC, linear_step, linear_transitions
from made_records import ROBOT_FILE, make_records
from made_store import EPOCH, make_run, open_store

from offboard.baselines.mopo import MopoConfig
from offboard.data.retention import Retention
from offboard.episode_store import Delivery
from offboard.generate import GenerateConfig
from offboard.penalty import PenaltyConfig
from offboard.planner import PlanConfig
from offboard.run_dir import RunDir
from offboard.stages import data
from offboard.stages.exchange import (
    ExportConfig,
    ImportConfig,
    load_imported,
    run_export,
    run_import,
)
from offboard.stages.generate import OfflineConfig, load_kept, run_generate
from offboard.stages.source import load_source
from offboard.stages.source_from_data import DataSourceConfig, run_source_from_data
from onboard.spool_entry import Tail, entries_of
from protocol.errors import ConfigError, StoreError
from protocol.step_record import Rows

pytestmark = pytest.mark.usefixtures("eager")


def linear_episode(number: int, steps: int) -> Rows:
    """An episode on the linear rig, which a small model learns at once."""
    rows = episode(number, steps)
    obs = linear_transitions(1, seed=number).obs
    applied = torch.rand(steps + 1, 1, generator=torch.Generator().manual_seed(number)) * 2.0 - 1.0
    for step in range(steps + 1):
        rows["obs"][step], rows["applied"][step] = obs[0], applied[step]
        obs = linear_step(obs, applied[step][None])
    return rows


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "archive", [linear_episode(n, 60) for n in range(10)])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A serve run with two archived episodes and a third that is not over."""
    run = make_run(tmp_path / "serve", make_records(0, 25, episode_steps=10), ("r", "s"))
    config = {"robot": str(ROBOT_FILE), "task": "swing_up", "unit": "r"}
    (run / "config.json").write_text(json.dumps({"config": config}))
    return run


def imported(archive: Path, out: Path, **changes: object) -> dict[str, object]:
    config = ImportConfig(data=archive, format="mcap", robot=ROBOT_FILE, task="swing_up")
    return run_import(replace(config, **changes), out)


@pytest.mark.parametrize("kind", ["lerobot", "minari"])
def test_a_log_means_the_same_in_every_format(archive, tmp_path, kind):
    for library in {"lerobot": ["pyarrow"], "minari": ["minari", "h5py"]}[kind]:
        pytest.importorskip(library, reason="requirements/exports.txt")
    config = ExportConfig(archive, kind, ROBOT_FILE, "swing_up")
    assert run_export(config, tmp_path / "data-v0") == {"trajectories": 10, "steps": 600}
    imported(archive, tmp_path / "direct")
    imported(tmp_path / "data-v0", tmp_path / "around", format=kind)
    direct, around = (load_imported(tmp_path / name, SETUP) for name in ("direct", "around"))
    for ours, theirs in zip(direct.replay, around.replay, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=0.0)
    torch.testing.assert_close(direct.starts, around.starts, rtol=0.0, atol=0.0)


def test_an_import_says_what_it_took(archive, tmp_path):
    result = imported(archive, tmp_path / "out")
    assert (result["episodes"], result["trajectories"], result["steps"]) == (10, 10, 600)
    assert result["measured_hz"] == pytest.approx(50.0, rel=0.01)


def test_an_import_that_does_not_fit_leaves_no_run(archive, tmp_path):
    with pytest.raises(StoreError, match="1 were named"):
        imported(archive, tmp_path / "out", columns=("a",))
    assert not (tmp_path / "out").exists()


def test_a_run_exports_what_is_finished_even_if_it_was_not_archived(run, tmp_path):
    (run / "archive/r/g001-e000001.mcap").unlink()
    with open_store(run) as store, store.database.transaction():
        store.database.write("DELETE FROM episodes WHERE robot = 'r' AND episode = 1")
    assert run_export(ExportConfig(run, "mcap"), tmp_path / "out") == {"files": 4}
    name = "r/g001-e000001.mcap"
    assert (tmp_path / "out" / name).read_bytes() == (run / "archive" / name).read_bytes()


def test_a_damaged_episode_is_not_passed_on(archive, tmp_path):
    path = archive / "r/g001-e000003.mcap"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match=r"g001-e000003\.mcap is damaged"):
        run_export(ExportConfig(archive, "mcap"), tmp_path / "out")


def test_an_export_of_loose_files_needs_robot_and_task(archive, tmp_path):
    with pytest.raises(ConfigError, match="--robot and --task"):
        run_export(ExportConfig(archive, "lerobot"), tmp_path / "out")


def test_nothing_is_exported_over_something(archive, tmp_path):
    with pytest.raises(StoreError, match="choose another --out"):
        run_export(ExportConfig(archive, "mcap"), tmp_path)


def test_from_a_log_to_generated_data(archive, tmp_path):
    imported(archive, tmp_path / "log")
    config = DataSourceConfig(
        robot=ROBOT_FILE,
        task="swing_up",
        data=tmp_path / "log",
        model_steps=300,
        sac=SMALL_SAC,
        model=SMALL_MODEL,
        policy=MopoConfig(updates=20, rollouts_every=10, rollouts=50, warm_start=False),
    )
    result = run_source_from_data(config, tmp_path / "source")
    assert result["model_nmse"] < 0.2
    assert 0.0 <= result["imagined_return"] <= 250.0
    source = load_source(tmp_path / "source", SETUP)
    assert (source.replay.size, source.starts.shape) == (600, (10, 7))
    offline = OfflineConfig(
        robot=ROBOT_FILE,
        task="swing_up",
        source=tmp_path / "source",
        executed=0.0,
        penalty=PenaltyConfig(episodes=0),
        plan=PlanConfig(horizon=3),
        generate=GenerateConfig(trajectories=6, steps=10),
    )
    assert run_generate(offline, tmp_path / "generated")["trajectories"] == 6
    assert load_kept(tmp_path / "generated").size > 0
    with pytest.raises(ConfigError, match="has no simulator"):
        run_generate(replace(offline, penalty=PenaltyConfig()), tmp_path / "executed")
    assert run_source_from_data(config, tmp_path / "source") == result


def test_too_little_data_is_refused_by_its_number(tmp_path):
    imported(write_archive(tmp_path / "archive", [episode(0)]), tmp_path / "log")
    config = DataSourceConfig(robot=ROBOT_FILE, task="swing_up", data=tmp_path / "log")
    with pytest.raises(StoreError, match="has 20 steps; import at least 500"):
        run_source_from_data(config, tmp_path / "source")


def test_ls_lists_robots_and_episodes(run, capsys):
    data.ls(run, json=True)
    listed = json.loads(capsys.readouterr().out)
    assert [robot["robot"] for robot in listed["robots"]] == ["r", "s"]
    assert listed["robots"][0]["packed_records"] == 25
    first = listed["episodes"][0]
    assert (first["name"], first["records"], first["missing"]) == ("g001-e000000", 10, 0)
    assert (first["end"], first["seconds"]) == ("truncated", 0.18)


def test_ls_shows_damage_and_goes_on(run, capsys):
    path = run / "archive/r/g001-e000000.mcap"
    path.write_bytes(b"nothing")
    data.ls(run / "archive")
    shown = capsys.readouterr().out
    assert shown.count("damaged") == 1
    assert shown.count("truncated") == 3


def test_show_tells_one_episode_by_measured_times(run, capsys):
    data.show(run, "r/g001-e000001", json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["period_ms"] == {"median": 20.0, "p99": 20.0, "max": 20.0}
    by_name = {column["name"]: column for column in shown["columns"]}
    assert by_name["velocity:arm"]["unit"].startswith("rad/s")
    assert by_name["applied arm"]["most"] == pytest.approx(np.sin(np.arange(10, 20)).max())


def test_verify_exits_with_the_name_of_what_is_damaged(run, capsys):
    with pytest.raises(SystemExit) as well:
        data.verify(run)
    assert well.value.code == 0
    (run / "archive/r/g001-e000000.mcap").unlink()
    with pytest.raises(SystemExit) as damaged:
        data.verify(run)
    assert damaged.value.code == 1
    assert "r/g001-e000000" in capsys.readouterr().out


def test_verify_says_what_it_put_in_order(run, capsys):
    with open_store(run) as store, store.database.transaction():
        store.database.write("UPDATE batches SET crc32 = 1 WHERE robot = 'r' AND seq = 3")
    with pytest.raises(SystemExit) as damaged:
        data.verify(run)
    assert damaged.value.code == 1
    assert "declared lost: the records of 1 damaged batches" in capsys.readouterr().out
    with pytest.raises(SystemExit) as well:
        data.verify(run, json=True)
    assert well.value.code == 0
    assert json.loads(capsys.readouterr().out)["put_in_order"]["batches"] == 0


def test_verify_counts_what_an_older_copy_has_forgotten_which_is_no_damage(run, capsys):
    with open_store(run) as store:
        assert store.greet("r", EPOCH, first_held=7) == 6
        (entry,) = entries_of(make_records(60, 10), Tail())
        store.accept([Delivery("r", EPOCH, [entry.message(EPOCH, 7)])])
    with pytest.raises(SystemExit) as well:
        data.verify(run, json=True)
    assert well.value.code == 0
    (loss,) = json.loads(capsys.readouterr().out)["losses"]["r"]
    assert (loss["records"], loss["unknown"]) == (35, 0)
    with pytest.raises(SystemExit):
        data.verify(run)
    assert "lost of r: 35 records: batches # to # are held by nobody" in capsys.readouterr().out


def test_gc_keeps_what_the_session_learns_from_unless_told_otherwise(run):
    spared = data.run_gc(run, Retention(budget_mb=0.0), None, session_too=False)
    assert (spared.batches, spared.files) == (4, 2)  # the files of s, which is no session
    everything = data.run_gc(run, Retention(budget_mb=0.0), None, session_too=True)
    assert (everything.batches, everything.files) == (0, 2)
    assert [event["files"] for event in RunDir(run).metrics()] == [2, 2]


def test_gc_without_a_bound_is_refused(run):
    with pytest.raises(ConfigError, match="--budget-mb or --keep-days"):
        data.run_gc(run, Retention(), None, session_too=False)
