"""LeRobotDataset v3: is what was written what is read, and is the layout the one documented?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_data import assert_same, made_log

from offboard.data import lerobot_writer
from offboard.data.lerobot_reader import read_lerobot
from offboard.data.lerobot_writer import write_lerobot
from protocol.errors import StoreError

parquet = pytest.importorskip("pyarrow.parquet", reason="requirements/exports.txt")


def edit_info(out: Path, **changes: object) -> None:
    path = out / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_round_trip_changes_nothing(tmp_path):
    log = made_log(tmp_path / "archive")
    write_lerobot(log, tmp_path / "out")
    assert_same(read_lerobot(tmp_path / "out"), log)


def test_times_are_the_measured_ones(tmp_path):
    log = made_log(tmp_path / "archive")
    write_lerobot(log, tmp_path / "out")
    frames = parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    sense_ns = np.concatenate([part.sense_ns for part in log.trajectories])
    np.testing.assert_array_equal(frames["sense_ns"].to_numpy(), sense_ns)
    seconds = frames["timestamp"].to_numpy()[:21]
    np.testing.assert_allclose(seconds, (sense_ns[:21] - sense_ns[0]) / 1e9, rtol=1e-6)
    assert not np.allclose(seconds, np.arange(21) / 50.0, atol=1e-6)


def test_the_last_frame_is_marked_and_its_action_held(tmp_path):
    log = made_log(tmp_path / "archive", count=1, steps=4)
    write_lerobot(log, tmp_path / "out")
    frames = parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert frames["next.done"].to_pylist() == [False] * 4 + [True]
    action = frames["action"].to_pylist()
    assert action[4] == action[3]
    assert frames["next.reward"].to_pylist()[4] == 0.0


def test_statistics_are_those_of_the_numbers(tmp_path):
    log = made_log(tmp_path / "archive")
    write_lerobot(log, tmp_path / "out")
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    obs = np.concatenate([part.obs for part in log.trajectories])
    np.testing.assert_allclose(
        stats["observation.state"]["mean"], obs.mean(0), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(stats["observation.state"]["max"], obs.max(0), rtol=1e-6)
    assert stats["action"]["count"] == [63]


def test_many_frames_are_spread_over_files_that_name_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_writer, "FILE_BYTES", 30 * 88)
    monkeypatch.setattr(lerobot_writer, "FILES_PER_CHUNK", 1)
    log = made_log(tmp_path / "archive")
    write_lerobot(log, tmp_path / "out")
    files = sorted((tmp_path / "out/data").rglob("*.parquet"))
    assert [file.parent.name for file in files] == ["chunk-000", "chunk-001"]
    rows = parquet.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for row in rows:
        file = f"data/chunk-{row['data/chunk_index']:03d}/file-{row['data/file_index']:03d}.parquet"
        held = parquet.read_table(tmp_path / "out" / file)["episode_index"].to_pylist()
        assert held.count(row["episode_index"]) == row["length"] == 21
    assert_same(read_lerobot(tmp_path / "out"), log)


def test_a_dataset_of_others_is_read_by_its_own_times(tmp_path):
    log = made_log(tmp_path / "archive")
    write_lerobot(log, tmp_path / "out")
    for file in (tmp_path / "out").rglob("*.parquet"):
        table = parquet.read_table(file)
        ours = {"sense_ns", "act_ns", "next.terminated", "next.reward", "recorded_episode"}
        parquet.write_table(table.drop_columns([*ours & {*table.column_names}]), file)
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    kept = {
        k: v
        for k, v in info["features"].items()
        if k in ("timestamp", "frame_index", "episode_index")
    }
    unnamed = {"dtype": "float32", "shape": [7], "names": None}
    motors = {"dtype": "float32", "shape": [1], "names": {"motors": ["arm"]}}
    edit_info(tmp_path / "out", features={**kept, "observation.state": unnamed, "action": motors})
    read = read_lerobot(tmp_path / "out")
    assert (read.columns, read.actions) == ((), ("arm",))
    for part, original in zip(read.trajectories, log.trajectories, strict=True):
        np.testing.assert_array_equal(part.obs, original.obs)
        since = original.sense_ns - original.sense_ns[0]
        np.testing.assert_allclose(part.sense_ns, since, atol=100)
        assert np.isnan(part.reward).all()
        assert not part.terminated


def test_a_missing_column_is_named(tmp_path):
    write_lerobot(made_log(tmp_path / "archive"), tmp_path / "out")
    features = json.loads((tmp_path / "out/meta/info.json").read_text())["features"]
    del features["action"]
    edit_info(tmp_path / "out", features=features)
    with pytest.raises(StoreError, match="no column 'action'"):
        read_lerobot(tmp_path / "out")


def test_an_older_version_is_refused_with_the_remedy(tmp_path):
    write_lerobot(made_log(tmp_path / "archive"), tmp_path / "out")
    edit_info(tmp_path / "out", codebase_version="v2.1")
    with pytest.raises(StoreError, match=r"v2\.1; convert it"):
        read_lerobot(tmp_path / "out")


@pytest.mark.parametrize("damage", ["[]", "{", '{"codebase_version": "v3.0"}'])
def test_nonsense_is_refused(tmp_path, damage):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text(damage)
    with pytest.raises(StoreError, match="no LeRobotDataset"):
        read_lerobot(tmp_path)


def test_nothing_is_overwritten(tmp_path):
    log = replace(made_log(tmp_path / "archive"))
    write_lerobot(log, tmp_path / "out")
    with pytest.raises(StoreError, match="exists"):
        write_lerobot(log, tmp_path / "out")
