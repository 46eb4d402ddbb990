"""Finished episodes as MCAP, read back by the format's own reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_records import SPEC, make_records
from mcap.reader import make_reader

from offboard.episode_store import Delivery, EpisodeStore, open_episode_store
from offboard.mcap_archive import archive_episodes, finished_episodes
from onboard.spool_entry import Tail, entries_of
from protocol.modes import Mode
from protocol.observation import Layout
from protocol.step_record import End

EPOCH = "a" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    store = open_episode_store(tmp_path / "episodes.sqlite", SPEC)
    yield store
    store.close()


def deliver(store: EpisodeStore, rows: np.ndarray) -> None:
    seq = store.last("r", EPOCH)
    entries = [e.message(EPOCH, seq + n) for n, e in enumerate(entries_of(rows, Tail()), 1)]
    store.accept([Delivery("r", EPOCH, entries)])


def archive(store: EpisodeStore, tmp_path: Path) -> list[Path]:
    return archive_episodes(store, "r", SPEC, tmp_path / "mcap")


def messages(path: Path) -> list[tuple[int, int, dict]]:
    with path.open("rb") as file:
        return [
            (message.log_time, message.publish_time, json.loads(message.data))
            for _, _, message in make_reader(file).iter_messages()
        ]


def test_each_finished_episode_is_a_file_and_the_unfinished_waits(store, tmp_path):
    deliver(store, make_records(0, 25, episode_steps=10))
    files = archive(store, tmp_path)
    assert [path.name for path in files] == ["g001-e000000.mcap", "g001-e000001.mcap"]
    deliver(store, make_records(25, 5, episode_steps=10))
    (late,) = archive(store, tmp_path)
    assert len(messages(late)) == 10


def test_archiving_again_writes_nothing(store, tmp_path):
    deliver(store, make_records(0, 20, episode_steps=10))
    archive(store, tmp_path)
    assert archive(store, tmp_path) == []


def test_values_times_and_names_survive(store, tmp_path):
    rows = make_records(0, 10, episode_steps=10)
    rows["requested"][3] = np.nan
    deliver(store, rows)
    (path,) = archive(store, tmp_path)
    labels = Layout(SPEC).labels
    for row, (sensed, sent, step) in zip(rows, messages(path), strict=True):
        assert (sensed, sent) == (row["sense_ns"], row["act_ns"])
        observed = [step["observation"][label] for label in labels]
        np.testing.assert_array_equal(np.float32(observed), row["obs"])
        assert np.float32(step["applied"]["arm"]) == row["applied"][0]
    assert messages(path)[3][2]["requested"]["arm"] is None
    assert messages(path)[9][2]["end"] == "TRUNCATED"


def test_units_stand_in_the_schema(store, tmp_path):
    deliver(store, make_records(0, 10, episode_steps=10))
    (path,) = archive(store, tmp_path)
    with path.open("rb") as file:
        (schema,) = make_reader(file).get_summary().schemas.values()
    columns = json.loads(schema.data)["properties"]["observation"]["properties"]
    assert columns["velocity:arm"]["description"].startswith("rad/s")


def test_no_half_file_carries_the_name_of_a_whole_one(store, tmp_path, monkeypatch):
    deliver(store, make_records(0, 10, episode_steps=10))

    def power_cut(handle: int) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("os.fsync", power_cut)
    with pytest.raises(Exception, match="power cut"):
        archive(store, tmp_path)
    assert not [*(tmp_path / "mcap").rglob("*.mcap")]
    monkeypatch.undo()
    assert len(archive(store, tmp_path)) == 1


def test_rows_between_episodes_belong_to_none():
    rows = make_records(0, 30, episode_steps=10)
    rows["mode"][10:14] = Mode.RECOVER
    lengths = [len(episode) for episode in finished_episodes([rows])]
    assert lengths == [10, 6, 10]


def test_an_episode_cut_off_by_the_next_one_is_over():
    first, second = make_records(0, 7, episode_steps=100), make_records(7, 5, episode_steps=100)
    second["episode"] += 1
    episodes = [*finished_episodes([first[:3], first[3:], second])]
    assert [len(episode) for episode in episodes] == [7]
    assert episodes[0]["end"][-1] == End.RUNNING
