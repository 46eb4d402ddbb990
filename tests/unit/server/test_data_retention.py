"""What leaves the disk, in which order, and does anything leave that exists nowhere else?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_records import SPEC, make_records
from made_store import deliver, held_records, make_run, open_store

from offboard.data.catalogue import ARCHIVE, Catalogue
from offboard.data.history import history
from offboard.data.recording import mcap_files, read_recording
from offboard.data.retention import DAY_S, MB, Freed, Pruner, Retention
from offboard.episode_store import EpisodeStore
from offboard.mcap_archive import archive_episodes, write_rows
from offboard.run_dir import RunDir
from offboard.stages import serve
from offboard.stages.troubles import Troubles
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.step_record import Rows

NOW_S = 1_000 * DAY_S
LITTLE = Retention(budget_mb=0.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three archived episodes, with homing after each, and five records of a fourth."""
    run = make_run(tmp_path / "run", made(0, 65))
    for age, path in enumerate(mcap_files(run / ARCHIVE)):
        os.utime(path, (NOW_S - (10 - age) * DAY_S,) * 2)
    return run


def made(first: int, count: int) -> Rows:
    """Episodes of fifteen records, five of homing after each."""
    rows = make_records(first, count, episode_steps=20)
    rows["mode"][rows["step"] >= 15] = Mode.RECOVER
    rows["end"][:] = 0
    rows["end"][rows["step"] == 14] = 2
    return rows


def pruner(
    store: EpisodeStore, run: Path, retention: Retention, keep: frozenset[str] = frozenset()
) -> Pruner:
    return Pruner(store, SPEC, run / ARCHIVE, retention, keep, lambda: NOW_S)


def everything(run: Path, store: EpisodeStore) -> set[int]:
    """Counters of all records that are still somewhere."""
    filed = [read_recording(path).rows["seq"] for path in (run / ARCHIVE).rglob("*.mcap")]
    numbers = np.concatenate([np.empty(0, np.int64), *filed]).astype(np.int64)
    return {int(number) for number in numbers & (1 << 40) - 1} | {*held_records(store)}


def numbers_of(batches: Iterable[Rows]) -> list[int]:
    """Counters of the records, in their order."""
    numbers = np.concatenate([rows["seq"] for rows in batches]).astype(np.int64)
    return [int(number) for number in numbers & (1 << 40) - 1]


def sizes(run: Path, store: EpisodeStore) -> int:
    files = sum(path.stat().st_size for path in (run / ARCHIVE).rglob("*.mcap"))
    return Catalogue(store.database).used_bytes() + files


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / ARCHIVE).rglob("*.mcap"))


def test_within_bounds_nothing_is_deleted(run):
    with open_store(run) as store:
        assert pruner(store, run, Retention()).prune() == Freed()
        assert pruner(store, run, Retention(budget_mb=100.0, keep_days=11.0)).prune() == Freed()
        assert held_records(store) == [*range(65)]


def test_packed_records_of_archived_episodes_go_and_what_lay_between_is_filed_first(run):
    expired = run / ARCHIVE / "r/rest-g000-000000000000.mcap"
    write_rows(expired, make_records(0, 5), SPEC, "r")
    os.utime(expired, (NOW_S - 20 * DAY_S,) * 2)
    with open_store(run) as store:
        freed = pruner(store, run, Retention(keep_days=15.0)).prune()
        assert (freed.batches, freed.files) == (5, 1)
        assert held_records(store) == [*range(50, 65)]
        (rest,) = (run / ARCHIVE / "r").glob("rest-*.mcap")
        assert read_recording(rest).rows["mode"].tolist() == [Mode.RECOVER] * 10
        assert everything(run, store) == {*range(65)}


def test_unarchived_records_survive_any_bound(run):
    with open_store(run) as store:
        freed = pruner(store, run, LITTLE).prune()
        assert freed.files == 4
        assert names(run) == []
        assert {*range(55, 65)} <= {*held_records(store)}


def test_age_deletes_the_oldest_only(run):
    with open_store(run) as store:
        freed = pruner(store, run, Retention(keep_days=8.5)).prune()
    assert freed.files == 2
    assert names(run)[0] == "g001-e000002.mcap"


def test_the_budget_deletes_the_oldest_first_and_stops(run):
    with open_store(run) as store:
        pruner(store, run, Retention(budget_mb=(sizes(run, store) - 1) / MB)).prune()
        for age, path in enumerate(mcap_files(run / ARCHIVE)):
            os.utime(path, (NOW_S - (10 - age) * DAY_S,) * 2)
        kept = names(run)
        freed = pruner(store, run, Retention(budget_mb=(sizes(run, store) - 1) / MB)).prune()
        assert freed.files == 1
        assert names(run) == kept[1:]


def test_deleted_episodes_stay_in_the_catalogue_and_are_not_archived_again(run):
    with open_store(run) as store:
        pruner(store, run, LITTLE).prune()
        episodes = Catalogue(store.database).episodes("r")
        assert [episode.path for episode in episodes] == ["", "", ""]
        assert archive_episodes(store, "r", SPEC, run / ARCHIVE) == []


def test_what_was_deleted_is_not_taken_a_second_time(run):
    with open_store(run) as store:
        last = store.last("r", "a" * 32)
        pruner(store, run, LITTLE).prune()
        assert store.last("r", "a" * 32) == last
        deliver(store, make_records(65, 10, episode_steps=20))
        assert held_records(store)[-1] == 74


def test_a_robot_that_is_to_be_kept_loses_only_what_is_held_twice(run):
    with open_store(run) as store:
        whole = np.concatenate([*store.rows("r")])
        freed = pruner(store, run, LITTLE, frozenset({"r"})).prune()
        assert (freed.batches, freed.files) == (5, 0)
        assert held_records(store) == [*range(50, 65)]
        assert np.concatenate([*history(store, run / ARCHIVE, "r")]).tobytes() == whole.tobytes()


def test_it_can_be_pruned_again_and_again(run):
    """Episodes and what lies between come back in their order from any number of files."""
    with open_store(run) as store:
        every = pruner(store, run, LITTLE, frozenset({"r"}))
        every.prune()
        more = made(65, 40)
        deliver(store, more)
        archive_episodes(store, "r", SPEC, run / ARCHIVE)
        every.prune()
        assert held_records(store)[0] > 65
        assert numbers_of(history(store, run / ARCHIVE, "r")) == [*range(105)]


def test_records_that_come_a_second_time_do_not_hide_what_is_filed(run):
    """As from a robot whose spool was set back."""
    with open_store(run) as store:
        pruner(store, run, LITTLE, frozenset({"r"})).prune()
        deliver(store, made(10, 10))
        assert numbers_of(history(store, run / ARCHIVE, "r")) == [*range(65)]


def test_a_damaged_batch_is_read_from_the_archive(run):
    with open_store(run) as store:
        with store.database.transaction():
            store.database.write("UPDATE batches SET crc32 = 1 WHERE seq = 2")
        assert 12 not in held_records(store)
        found = numbers_of(history(store, run / ARCHIVE, "r"))
        assert found == [n for n in range(65) if n not in range(15, 20)]  # of no episode


def test_nothing_is_read_twice_that_is_still_packed(run, monkeypatch):
    read: list[str] = []

    def noting(path: Path) -> object:
        read.append(path.name)
        return read_recording(path)

    monkeypatch.setattr("offboard.data.history.read_recording", noting)
    with open_store(run) as store:
        assert numbers_of(history(store, run / ARCHIVE, "r")) == [*range(65)]
    assert read == ["g001-e000000.mcap"]  # nobody knows where the first one begins


def test_a_history_without_its_files_is_an_error(run):
    with open_store(run) as store:
        pruner(store, run, LITTLE, frozenset({"r"})).prune()
        (run / ARCHIVE / "r/g001-e000001.mcap").unlink()
        with pytest.raises(StoreError, match="g001-e000001"):
            [*history(store, run / ARCHIVE, "r")]


def test_a_history_of_nobody_is_empty(run):
    with open_store(run) as store:
        assert [*history(store, run / ARCHIVE, "nobody")] == []


def test_once_it_is_no_longer_kept_its_files_go_too(run):
    with open_store(run) as store:
        every = pruner(store, run, LITTLE, frozenset({"r"}))
        every.prune()
        every.keep = frozenset()
        assert every.prune().files == 4
        assert {*range(55, 65)} <= {*held_records(store)}


def test_where_the_archive_is_damaged_packed_records_stay(run):
    path = run / ARCHIVE / "r/g001-e000001.mcap"
    path.write_bytes(path.read_bytes()[:-9] + b"!" + path.read_bytes()[-8:])
    with open_store(run) as store:
        freed = pruner(store, run, LITTLE).prune()
        assert freed[:3] == (0, 0, 0)
        assert "r is left alone" in freed.spared[0]
        assert held_records(store) == [*range(65)]


def test_a_damaged_batch_is_not_thrown_away(run):
    with open_store(run) as store:
        with store.database.transaction():
            store.database.write("UPDATE batches SET crc32 = 1 WHERE seq = 2")
        pruner(store, run, LITTLE).prune()
        assert store.database.value("SELECT count(*) FROM batches WHERE seq = 2") == 1


def test_everything_deleted_is_counted(run):
    with open_store(run) as store:
        every = pruner(store, run, LITTLE)
        freed = every.prune()
        assert freed.size_bytes > 0
        every.prune()
        assert every.total == freed


def test_a_server_prunes_after_archiving_and_logs_it_once(run):
    with open_store(run) as store:
        server = SimpleNamespace(store=store, spec=SPEC, pruner=pruner(store, run, LITTLE))
        troubles = Troubles(RunDir(run))
        serve._archive(server, RunDir(run), troubles)
        serve._archive(server, RunDir(run), troubles)
    (event,) = RunDir(run).metrics()
    assert (event["event"], event["batches"], event["files"]) == ("retention", 5, 4)
