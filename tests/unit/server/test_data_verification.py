"""Does a flipped bit anywhere have an episode's name?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from made_records import make_records
from made_store import make_run

from offboard.data.catalogue import ARCHIVE, STORE, Catalogue, open_catalogue
from offboard.data.verification import Verdict, verify_files, verify_run
from offboard.store_check import Findings
from protocol.errors import StoreError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two robots; episodes 0 and 1 of ten records are archived, 5 records of the next are not."""
    return make_run(tmp_path / "run", make_records(0, 25, episode_steps=10), ("r", "s"))


@pytest.fixture
def catalogue(run: Path) -> Iterator[Catalogue]:
    with closing(open_catalogue(run)) as catalogue:
        yield catalogue


def verdict(run: Path) -> Verdict:
    with closing(open_catalogue(run)) as catalogue:
        return verify_run(catalogue, run / ARCHIVE)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def alter(run: Path, sql: str) -> None:
    connection = sqlite3.connect(run / STORE)
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_what_is_whole_is_whole(run):
    found = verdict(run)
    assert (found.episodes, found.batches, found.damage) == (4, 6, [])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_flipped_bit_in_the_archive_names_the_episode(run, share):
    path = run / "archive/s/g001-e000001.mcap"
    flip(path, int(share * path.stat().st_size))
    (damage,) = verdict(run).damage
    assert damage.what == "s/g001-e000001"
    assert "SHA-256" in damage.fault


def test_a_missing_file_names_the_episode(run):
    (run / "archive/r/g001-e000000.mcap").unlink()
    (damage,) = verdict(run).damage
    assert damage.what == "r/g001-e000000"
    assert "cannot be read" in damage.fault


def test_another_episode_in_its_place_is_noticed(run):
    folder = run / "archive/r"
    (folder / "g001-e000000.mcap").write_bytes((folder / "g001-e000001.mcap").read_bytes())
    assert [damage.what for damage in verdict(run).damage] == ["r/g001-e000000"]


def test_a_flipped_bit_in_a_packed_batch_names_its_episode(run):
    alter(run, "UPDATE batches SET crc32 = crc32 + 1 WHERE robot = 'r' AND seq = 2")
    (damage,) = verdict(run).damage
    assert damage.what == "r/g001-e000001"


def test_damage_outside_archived_episodes_has_record_numbers(run):
    alter(run, "UPDATE batches SET data = zeroblob(40) WHERE robot = 'r' AND seq = 3")
    (damage,) = verdict(run).damage
    assert damage.what == f"r, records {(1 << 40) + 20} to {(1 << 40) + 24}"


def test_a_row_that_is_not_even_numbers_is_named_and_declared_lost(run):
    alter(run, "UPDATE batches SET first_record = 'x', data = 7 WHERE robot = 'r' AND seq = 3")
    found = verdict(run)
    assert [damage.fault for damage in found.damage] == ["packed records are damaged"]
    assert found.put_in_order == Findings(batches=1)


def test_what_was_damaged_is_on_record_as_lost_and_then_the_store_is_sound(run):
    alter(run, "UPDATE batches SET data = zeroblob(40) WHERE robot = 'r' AND seq = 3")
    assert verdict(run).put_in_order == Findings(batches=1)
    again = verdict(run)
    assert again.sound
    assert again.batches == 5
    with closing(open_catalogue(run)) as catalogue:
        assert [gap.reason for gap in catalogue.gaps("r")] == ["damaged in the server's store"]


def test_a_stream_that_does_not_know_where_it_stands_finds_out(run):
    alter(run, "UPDATE streams SET last = 9 WHERE robot = 's'")
    found = verdict(run)
    assert (found.sound, found.damage, found.put_in_order) == (False, [], Findings(streams=1))


def test_tables_of_another_version_are_refused_by_their_number(run):
    alter(run, "PRAGMA user_version = 1")
    with pytest.raises(StoreError, match=r"layout 1, this version reads .*archive can be read"):
        open_catalogue(run)


def test_files_alone_are_checked_by_what_is_in_them(run):
    files = sorted((run / ARCHIVE).rglob("*.mcap"))
    assert verify_files(files).damage == []
    flip(files[2], 300)
    assert [damage.what for damage in verify_files(files).damage] == [files[2].stem]


def test_a_server_that_runs_keeps_its_store_to_itself(run, catalogue):
    with pytest.raises(StoreError, match=r"while a server runs, name .*archive"):
        open_catalogue(run)


def test_a_folder_without_a_store_is_no_run(tmp_path):
    with pytest.raises(StoreError, match=r"no episodes\.sqlite"):
        open_catalogue(tmp_path)
    assert not (tmp_path / STORE).exists()
