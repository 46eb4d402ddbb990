"""Finished episodes as MCAP, read back by the format's own reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_records import SPEC, make_records
from mcap.reader import make_reader

from offboard import mcap_archive
from offboard.archive_index import ArchiveIndex
from offboard.data.history import history
from offboard.data.recording import read_recording
from offboard.data.retention import Pruner, Retention
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


def restored(store: EpisodeStore) -> None:
    """As the store was before its episodes were archived and its middle records came."""
    with store.database.transaction():
        store.database.write("DELETE FROM episodes")
        store.database.write("DELETE FROM batches WHERE seq = 2")


def whole_then_restored(store: EpisodeStore, tmp_path: Path) -> Path:
    for first in (0, 10, 20):
        deliver(store, make_records(first, 10, episode_steps=30))
    (path,) = archive(store, tmp_path)
    restored(store)
    return path


def test_after_a_restore_the_fuller_file_is_kept_and_catalogued(store, tmp_path):
    path = whole_then_restored(store, tmp_path)
    before, told = path.read_bytes(), []
    assert archive_episodes(store, "r", SPEC, tmp_path / "mcap", told.append) == []
    assert path.read_bytes() == before
    (note,) = told
    assert "30 records of its episode, the store 20" in note
    (row,) = store.database.rows("SELECT records, last_record, end, path FROM episodes")
    assert row == (30, make_records(29, 1)["seq"][0], End.TRUNCATED, "r/g001-e000000.mcap")
    read = np.concatenate([*history(store, tmp_path / "mcap", "r")])
    assert len(read) == 30
    assert archive(store, tmp_path) == []


def test_another_life_of_the_robot_is_filed_beside(store, tmp_path):
    """Same numbers, other records: neither file may take the other's place."""
    rows = make_records(0, 10, episode_steps=10)
    deliver(store, rows)
    (path,) = archive(store, tmp_path)
    with store.database.transaction():
        for table in ("episodes", "batches"):
            store.database.write(f"DELETE FROM {table}")
    before, told = path.read_bytes(), []
    other = make_records(0, 8, episode_steps=8)
    for column in ("sense_ns", "act_ns"):
        other[column] += 1_000
    deliver(store, other)
    (beside,) = archive_episodes(store, "r", SPEC, tmp_path / "mcap", told.append)
    assert (beside.name, path.read_bytes()) == ("g001-e000000.2.mcap", before)
    assert len(messages(beside)) == 8
    assert "is kept" in told[0]


def test_a_damaged_file_is_not_written_over(store, tmp_path):
    path = whole_then_restored(store, tmp_path)
    path.write_bytes(b"damaged")
    (beside,) = archive(store, tmp_path)
    assert (beside.name, path.read_bytes()) == ("g001-e000000.2.mcap", b"damaged")


def test_a_file_that_was_not_catalogued_any_more_is_made_again(store, tmp_path):
    """The power cut came between the file and the catalogue."""
    deliver(store, make_records(0, 10, episode_steps=10))
    (path,) = archive(store, tmp_path)
    with store.database.transaction():
        store.database.write("DELETE FROM episodes")
    assert archive_episodes(store, "r", SPEC, tmp_path / "mcap", pytest.fail) == [path]
    assert ArchiveIndex(store.database).through("r") > 0


def test_what_followed_a_long_episode_is_not_written_over_by_less(store, tmp_path, monkeypatch):
    monkeypatch.setattr(mcap_archive, "EPISODE_MAX_ROWS", 20)
    for first in range(0, 50, 10):
        deliver(store, make_records(first, 10, episode_steps=100))
        archive_episodes(store, "r", SPEC, tmp_path / "mcap", lambda note: None)
    rest = tmp_path / "mcap/r/rest-g001-000000000020.mcap"
    before, told = rest.read_bytes(), []
    with store.database.transaction():  # a copy from before the rest was whole
        store.database.write("UPDATE episodes SET last_record = last_record - 20")
        store.database.write("DELETE FROM batches WHERE seq = 4")
    archive_episodes(store, "r", SPEC, tmp_path / "mcap", told.append)
    assert rest.read_bytes() == before
    assert "is kept" in told[0]


def test_an_episode_without_an_end_counts_as_over_and_all_of_it_is_filed(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(mcap_archive, "EPISODE_MAX_ROWS", 20)
    told = []
    for first in range(0, 50, 10):
        deliver(store, make_records(first, 10, episode_steps=100))
        archive_episodes(store, "r", SPEC, tmp_path / "mcap", told.append)
    names = sorted(path.name for path in (tmp_path / "mcap" / "r").iterdir())
    assert names == ["g001-e000000.mcap", "rest-g001-000000000020.mcap"]
    assert "longer than 20 records" in told[0]
    assert "20 records more" in told[1]
    deliver(store, make_records(50, 60, episode_steps=100))
    archive(store, tmp_path)
    assert len(read_recording(tmp_path / "mcap/r/g001-e000000.mcap").rows) == 20
    Pruner(
        store, SPEC, tmp_path / "mcap", Retention(budget_mb=0.0), frozenset("r"), lambda: 0.0
    ).prune()
    assert store.database.value("SELECT count(*) FROM batches WHERE seq <= 5") == 0
    read = np.concatenate([*history(store, tmp_path / "mcap", "r")])
    assert (read["seq"] - read["seq"][0]).tolist() == [*range(110)]
