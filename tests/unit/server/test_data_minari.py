"""Minari: is what its own reader gives what the robot did?"""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_data import assert_same, made_log

from offboard.data.minari_log import read_minari, write_minari
from protocol.errors import ConfigError, StoreError

minari = pytest.importorskip("minari", reason="requirements/exports.txt")
pytest.importorskip("h5py", reason="requirements/exports.txt")


def test_minaris_own_loader_finds_what_the_robot_did(tmp_path, monkeypatch):
    log = made_log(tmp_path / "archive")
    write_minari(log, tmp_path / "swing-up-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("swing-up-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (3, 60)
    for episode, part in zip(dataset.iterate_episodes(), log.trajectories, strict=True):
        np.testing.assert_array_equal(episode.observations, part.obs)
        np.testing.assert_array_equal(episode.actions, part.applied)
        np.testing.assert_array_equal(episode.rewards, part.reward)
        np.testing.assert_array_equal(episode.infos["sense_ns"], part.sense_ns)
        np.testing.assert_array_equal(episode.infos["act_ns"], part.act_ns)
        assert episode.terminations.tolist() == [False] * 19 + [part.terminated]
        assert episode.truncations.tolist() == [False] * 19 + [not part.terminated]
        assert dataset.observation_space.contains(episode.observations[0])
        assert dataset.action_space.contains(episode.actions[0])


def test_a_round_trip_changes_nothing(tmp_path):
    log = made_log(tmp_path / "archive")
    write_minari(log, tmp_path / "swing-up-v0")
    assert_same(read_minari(tmp_path / "swing-up-v0"), log)


def test_a_dataset_that_would_run_its_environment_is_refused(tmp_path):
    write_minari(made_log(tmp_path / "archive"), tmp_path / "swing-up-v0")
    path = tmp_path / "swing-up-v0/data/metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["observation_space"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match="lacks 'observation_space'"):
        read_minari(tmp_path / "swing-up-v0")


def test_a_damaged_file_is_refused_by_name(tmp_path):
    write_minari(made_log(tmp_path / "archive"), tmp_path / "swing-up-v0")
    path = tmp_path / "swing-up-v0/data/main_data.hdf5"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StoreError, match="swing-up-v0"):
        read_minari(tmp_path / "swing-up-v0")


def test_a_folder_without_metadata_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no Minari metadata\.json"):
        read_minari(tmp_path)


def test_a_name_without_a_version_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="swing-up-v0"):
        write_minari(made_log(tmp_path / "archive"), tmp_path / "swing-up")
    assert not (tmp_path / "swing-up").exists()


def test_nothing_is_overwritten(tmp_path):
    log = made_log(tmp_path / "archive")
    write_minari(log, tmp_path / "swing-up-v0")
    with pytest.raises(StoreError, match="exists"):
        write_minari(log, tmp_path / "swing-up-v0")
