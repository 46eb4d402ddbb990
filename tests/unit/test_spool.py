"""What the spool promises: once, in order, durable, and no loss without a gap."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import zstandard
from made_records import DTYPE, GENERATION, make_records

from onboard.database import FullError
from onboard.spool import Spool, open_spool
from protocol.errors import StoreError
from protocol.messages import MAX_BYTES, Batch, Gap, encode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def opened(path: Path, quota_bytes: int = 1 << 20) -> Spool:
    return open_spool(path, quota_bytes)


def edited(path: Path, sql: str, *parameters: object) -> None:
    """Change the closed file behind the spool's back."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql, parameters)
    connection.close()


def rows_of(batch: Batch) -> np.ndarray:
    return np.frombuffer(zstandard.decompress(batch.data), DTYPE)


def test_rows_come_back_bit_identical_over_a_restart(path):
    rows = make_records(0, 120)
    spool = opened(path)
    assert spool.append(rows) == 120
    epoch = spool.epoch
    spool.close()
    spool = opened(path)
    (batch,) = spool.unacknowledged(10)
    spool.close()
    assert batch.epoch == epoch
    assert (batch.seq, batch.first_record, batch.count) == (1, GENERATION, 120)
    assert rows_of(batch).tobytes() == rows.tobytes()


def test_rows_spooled_before_a_kill_are_not_spooled_again(path):
    rows = make_records(0, 100)
    spool = opened(path)
    spool.append(rows[:60])
    spool.close()  # killed before the ring was released: all rows are still there
    spool = opened(path)
    assert spool.append(rows) == 40
    assert [b.first_record - GENERATION for b in spool.unacknowledged(9)] == [0, 60]
    assert spool.spooled == 100
    spool.close()


def test_a_jump_in_the_numbers_becomes_a_gap_between_two_batches(path):
    spool = opened(path)
    spool.append(np.concatenate([make_records(0, 10), make_records(25, 5)]))
    first, gap, second = spool.unacknowledged(9)
    spool.close()
    assert isinstance(gap, Gap)
    assert (gap.seq, gap.first_record - GENERATION, gap.count) == (2, 10, 15)
    assert (first.count, second.count) == (10, 5)


def test_a_jump_across_a_restart_is_a_gap_too(path):
    spool = opened(path)
    spool.append(make_records(0, 10))
    spool.close()
    spool = opened(path)
    spool.append(make_records(12, 10))
    kinds = [type(entry) for entry in spool.unacknowledged(9)]
    spool.close()
    assert kinds == [Batch, Gap, Batch]


def is_unknown(entry: Batch | Gap) -> bool:
    return isinstance(entry, Gap) and (entry.first_record, entry.count) == (0, 0)


def test_the_first_ring_generation_follows_nothing(path):
    spool = opened(path)
    spool.append(make_records(0, 10, generation=1))
    assert [type(entry) for entry in spool.unacknowledged(9)] == [Batch]
    spool.close()


@pytest.mark.parametrize("together", [False, True])
def test_before_a_new_ring_generation_stands_a_gap_of_unknown_extent(path, together):
    """How the one before ended nothing tells, wherever the agent was meanwhile."""
    first, second = (make_records(0, 10, generation=number) for number in (1, 2))
    spool = opened(path)
    for rows in [np.concatenate([first, second])] if together else [first, second]:
        assert spool.append(rows) == len(rows)
    before, gap, after = spool.unacknowledged(9)
    assert (before.count, after.count, after.first_record) == (10, 10, 2 * GENERATION)
    assert is_unknown(gap)
    assert gap.reason.startswith("ring generation 2 follows record 9 of generation 1:")
    spool.append(make_records(10, 10, generation=2))
    assert isinstance(spool.unacknowledged(9)[-1], Batch), "it is said once"
    assert spool.newest == 4
    spool.close()


@pytest.mark.parametrize(
    ("ended", "lost"),
    [(GENERATION + 10, 0), (GENERATION + 14, 4), (GENERATION + 7, 0)],
    ids=["all seen", "four unread", "seen beyond it"],
)
def test_where_the_one_before_ended_in_good_order_its_loss_is_exact(path, ended, lost):
    spool = opened(path)
    spool.append(make_records(0, 10))
    spool.append(make_records(0, 10, generation=2), ended)
    gaps = [entry for entry in spool.unacknowledged(9) if isinstance(entry, Gap)]
    spool.close()
    wanted = [(GENERATION + 10, lost)] if lost else []
    assert [(gap.first_record, gap.count) for gap in gaps] == wanted


@pytest.mark.parametrize("ended", [2 * GENERATION + 5, 2 * GENERATION, 3 * GENERATION, 0])
def test_the_end_of_another_generation_says_nothing_about_this_one(path, ended):
    """Of generation 2 nothing came here, or it is not known how it ended."""
    spool = opened(path)
    spool.append(make_records(0, 10))
    spool.append(make_records(0, 10, generation=3), ended)
    _, gap, _ = spool.unacknowledged(9)
    spool.close()
    assert is_unknown(gap)


def test_rows_that_are_refused_keep_what_is_known_of_the_generation_before(path):
    spool = opened(path, quota_bytes=10)
    spool.append(make_records(0, 40))
    spool.append(make_records(0, 30, generation=2), GENERATION + 44)
    spool.close()
    spool = opened(path)
    spool.append(make_records(30, 10, generation=2))
    gaps = [entry for entry in spool.unacknowledged(9) if isinstance(entry, Gap)]
    spool.close()
    assert sum(gap.count for gap in gaps) == 44 + 30
    assert not any(map(is_unknown, gaps))


def test_a_spool_that_saw_no_earlier_generation_says_so(path):
    spool = opened(path)
    spool.append(make_records(5, 10, generation=3))
    unknown, missing, batch = spool.unacknowledged(9)
    spool.close()
    assert is_unknown(unknown)
    assert "follows nothing in this spool" in unknown.reason
    assert (missing.first_record, missing.count) == (3 * GENERATION, 5)
    assert batch.count == 10


@pytest.mark.parametrize("kept", [10, 0])
def test_rows_refused_before_a_power_cut_are_lost_on_record(path, monkeypatch, kept):
    """The disk takes not even the note of what is owed, and the cut takes memory and ring."""
    spool = opened(path)
    spool.append(make_records(0, kept))
    with monkeypatch.context() as full:
        for method in ("_commit", "remember"):
            full.setattr(Spool, method, no_room)
        assert spool.append(make_records(kept, 500)) == 0
    assert spool.refusing
    spool.close()
    spool = opened(path)
    assert not spool.refusing, "nothing is known of them any more"
    spool.append(make_records(0, 10, generation=2))
    gap, batch = spool.unacknowledged(9)[-2:]
    spool.close()
    assert is_unknown(gap)
    assert batch.first_record == 2 * GENERATION


def no_room(*_: object) -> None:
    raise FullError("disk full")


def test_what_is_owed_from_one_generation_is_told_before_the_doubt_about_its_end(path):
    spool = opened(path, quota_bytes=10)
    spool.append(make_records(0, 40))
    spool.append(make_records(0, 30, generation=2))
    spool.close()
    spool = opened(path)
    spool.append(make_records(30, 10, generation=2))
    entries = spool.unacknowledged(9)
    spool.close()
    assert [(entry.first_record, entry.count) for entry in entries] == [
        (GENERATION, 40),
        (0, 0),
        (2 * GENERATION, 30),
        (2 * GENERATION + 30, 10),
    ]


def test_a_damaged_file_of_two_generations_leaves_no_hole_between_them(path):
    """The gap that spoke of it is damaged too; the hole is in the middle."""
    spool = opened(path)
    for generation in (1, 2):
        spool.append(make_records(0, 10, generation))
        spool.append(make_records(10, 10, generation))
    spool.close()
    edited(path, "UPDATE entries SET data = 'x' WHERE seq IN (2, 3)")
    edited(path, "UPDATE notes SET value = 'x' WHERE name = 'tail'")
    spool = opened(path)
    kinds = [(type(entry), entry.count) for entry in spool.unacknowledged(9)]
    spool.close()
    assert kinds == [(Gap, 0), (Batch, 10), (Gap, 0), (Batch, 10), (Batch, 10), (Gap, 0)]


@pytest.mark.parametrize("generation", [1, 2])
def test_what_a_generation_made_before_its_first_row_came_is_a_gap(path, generation):
    spool = opened(path)
    if generation == 2:
        spool.append(make_records(0, 10, generation=1))
    spool.append(make_records(5, 10, generation))
    gap, batch = spool.unacknowledged(9)[-2:]
    spool.close()
    assert (gap.first_record, gap.count) == (generation * GENERATION, 5)
    assert batch.first_record == generation * GENERATION + 5


def test_a_generation_that_restarts_lower_is_not_taken_for_old_rows(path):
    spool = opened(path)
    spool.append(make_records(0, 10, generation=7))
    assert spool.append(make_records(0, 10, generation=1)) == 10
    spool.close()


def test_acknowledged_entries_are_gone_and_numbers_go_on(path):
    spool = opened(path)
    for first in range(0, 50, 10):
        spool.append(make_records(first, 10))
    spool.acknowledge(3)
    assert [entry.seq for entry in spool.unacknowledged(9)] == [4, 5]
    spool.acknowledge(5)
    spool.close()
    spool = opened(path)
    assert (spool.first_held, spool.newest) == (6, 5)
    spool.append(make_records(50, 1))
    assert [entry.seq for entry in spool.unacknowledged(9)] == [6]
    spool.close()


def records_in(entries: list[Batch | Gap], kind: type) -> int:
    return sum(entry.count for entry in entries if isinstance(entry, kind))


def test_full_rejects_new_keeps_old_and_declares_the_loss(path):
    spool = opened(path, quota_bytes=6000)
    taken = [spool.append(make_records(first, 40)) for first in range(0, 400, 40)]
    assert (taken[0], taken[-1]) == (40, 0)
    assert spool.rejected == 400 - sum(taken)
    assert records_in(spool.unacknowledged(99), Batch) == sum(taken)
    declared = records_in(spool.unacknowledged(99), Gap)
    spool.acknowledge(spool.newest)
    assert spool.append(make_records(400, 10)) == 10
    gap, batch = spool.unacknowledged(9)
    spool.close()
    assert isinstance(gap, Gap)
    assert "quota" in gap.reason
    assert declared + gap.count == spool.rejected
    assert gap.first_record + gap.count == batch.first_record


def test_a_loss_while_full_is_declared_even_if_the_agent_is_killed(path):
    spool = opened(path, quota_bytes=4000)
    taken = sum(spool.append(make_records(first, 40)) for first in range(0, 400, 40))
    spool.close()
    spool = opened(path)
    spool.append(make_records(400, 10))
    assert records_in(spool.unacknowledged(99), Gap) == 400 - taken > 0
    spool.close()


def test_a_loss_before_anything_was_kept_is_declared_even_if_the_agent_is_killed(path):
    """There is no earlier record whose number would show the jump."""
    spool = opened(path, quota_bytes=10)
    assert spool.append(make_records(0, 40)) == 0
    spool.close()
    spool = opened(path)
    spool.append(make_records(40, 10))
    assert records_in(spool.unacknowledged(9), Gap) == 40
    spool.close()


def test_a_full_disk_rejects_new_and_heals_when_room_is_made(path, monkeypatch):
    """The file's own limit raises what a full disk raises: SQLITE_FULL."""
    monkeypatch.setattr("onboard.spool._OVERHEAD_BYTES", (96 << 10) - (2 << 20))
    spool = opened(path)
    taken = [spool.append(make_records(first, 100)) for first in range(0, 4000, 100)]
    assert taken[-1] == 0
    assert spool.rejected == 4000 - sum(taken)
    assert records_in(spool.unacknowledged(99), Batch) == sum(taken)
    spool.acknowledge(spool.newest)
    spool.append(make_records(4000, 10))
    gap, batch = spool.unacknowledged(9)
    spool.close()
    assert (gap.count, batch.count) == (4000 - sum(taken), 10)
    assert gap.reason == "disk full"


def test_the_file_cannot_outgrow_its_limit(path):
    spool = opened(path, quota_bytes=1 << 16)
    for first in range(0, 100_000, 500):
        spool.append(make_records(first, 500))
    spool.close()
    assert path.stat().st_size < (2 << 16) + (1 << 20) + (1 << 16)


@pytest.mark.parametrize("column", ["data", "first_record", "records", "crc32"])
def test_a_flipped_bit_is_quarantined_and_a_gap_takes_its_place(path, column):
    spool = opened(path)
    for first in range(0, 30, 10):
        spool.append(make_records(first, 10))
    spool.close()
    if column == "data":
        edited(path, "UPDATE entries SET data = CAST('x' || substr(data, 2) AS BLOB) WHERE seq = 2")
    else:
        edited(path, f"UPDATE entries SET {column} = {column} + 4 WHERE seq = 2")
    spool = opened(path)
    first, gap, last = spool.unacknowledged(9)
    assert [first.seq, gap.seq, last.seq] == [1, 2, 3]
    assert isinstance(gap, Gap)
    assert spool.quarantined == 1
    assert spool.unacknowledged(9)[1] == gap, "the gap itself must be sound"
    spool.close()
    edited(path, "SELECT 1")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT seq, length(data) > 0 FROM quarantine").fetchall() == [(2, 1)]
    connection.close()


def test_an_entry_that_vanished_becomes_a_gap(path):
    spool = opened(path)
    for first in range(0, 30, 10):
        spool.append(make_records(first, 10))
    spool.close()
    edited(path, "DELETE FROM entries WHERE seq = 2")
    spool = opened(path)
    assert [type(entry) for entry in spool.unacknowledged(9)] == [Batch, Gap, Batch]
    spool.close()


def test_quarantined_entries_do_not_use_up_the_quota(path):
    spool = opened(path, quota_bytes=8000)
    for first in range(0, 2000, 20):
        assert spool.append(make_records(first, 20)) == 20
        spool.quarantine(spool.newest, "refused")
        spool.acknowledge(spool.newest)
    spool.close()


def test_quarantine_does_not_grow_without_bound(path):
    spool = opened(path)
    for first in range(100):
        spool.append(make_records(first, 1))
        spool.quarantine(first + 1, "refused")
    spool.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM quarantine").fetchone()[0] <= 64
    connection.close()


@pytest.mark.parametrize("damage", [b"", b"not a database, but long enough to be read as one" * 9])
def test_a_damaged_file_is_set_aside_and_the_loss_declared(path, damage):
    spool = opened(path)
    spool.append(make_records(0, 500))
    epoch = spool.epoch
    spool.close()
    path.write_bytes(damage or path.read_bytes()[:4096] + bytes(5000))
    spool = opened(path)
    assert spool.epoch != epoch
    (gap,) = spool.unacknowledged(9)
    spool.close()
    assert isinstance(gap, Gap)
    assert "damaged" in gap.reason
    assert path.with_name("spool.sqlite.damaged-1").exists()


@pytest.mark.parametrize("name", ["tail", "spooled", "acknowledged"])
def test_damaged_notes_are_treated_as_a_damaged_file(path, name):
    spool = opened(path)
    spool.append(make_records(0, 10))
    spool.acknowledge(1)
    spool.close()
    edited(path, "UPDATE notes SET value = 'x{' WHERE name = ?", name)
    spool = opened(path)
    assert isinstance(spool.unacknowledged(9)[0], Gap)
    spool.close()


def test_a_torn_log_costs_at_most_the_newest_commits(path):
    spool = opened(path)
    for first in range(0, 200, 10):
        spool.append(make_records(first, 10))
    log = path.with_name("spool.sqlite-wal")
    torn = log.read_bytes()[:-3000] + bytes(500)
    copy = path.with_name("copy.sqlite")
    copy.write_bytes(path.read_bytes())
    spool.close()
    copy.with_name("copy.sqlite-wal").write_bytes(torn)
    spool = opened(copy)
    batches = [b for b in spool.unacknowledged(99) if isinstance(b, Batch)]
    spool.close()
    kept = np.concatenate([rows_of(batch) for batch in batches])
    assert len(kept) >= 180
    assert kept.tobytes() == make_records_in_tens(len(kept)).tobytes()


def make_records_in_tens(count: int) -> np.ndarray:
    return np.concatenate([make_records(first, 10) for first in range(0, count, 10)])


def test_only_one_process_may_hold_the_file(path):
    spool = opened(path)
    with pytest.raises(StoreError, match=r"spool\.sqlite.*locked"):
        opened(path)
    spool.close()


def test_incompressible_rows_of_any_number_fit_messages(path):
    rows = make_records(0, 30_000)
    for field in ("obs", "requested"):
        rows[field] = np.random.default_rng(0).normal(size=rows[field].shape)
    spool = opened(path, quota_bytes=1 << 30)
    spool.append(rows)
    batches = spool.unacknowledged(99)
    spool.close()
    assert all(len(encode(batch)) <= MAX_BYTES for batch in batches)
    assert b"".join(rows_of(b).tobytes() for b in batches) == rows.tobytes()


def test_nothing_beyond_the_newest_can_be_acknowledged(path):
    spool = opened(path)
    spool.append(make_records(0, 10))
    spool.acknowledge(99)
    assert spool.first_held == 2
    spool.append(make_records(10, 10))
    assert [entry.seq for entry in spool.unacknowledged(9)] == [2]
    spool.close()


def test_a_new_epoch_keeps_what_is_held_and_starts_its_numbers_at_one(path):
    spool = opened(path)
    for first in range(0, 50, 10):
        spool.append(make_records(first, 10))
    spool.acknowledge(3)
    before = spool.unacknowledged(9)
    epoch = spool.epoch
    spool.begin_epoch()
    after = spool.unacknowledged(9)
    spool.append(make_records(50, 10))
    assert spool.newest == 3
    spool.close()
    assert spool.epoch != epoch
    assert [entry.seq for entry in after] == [1, 2]
    assert [entry.data for entry in after] == [entry.data for entry in before]


def test_epochs_are_never_the_same(tmp_path):
    spools = [opened(tmp_path / f"{number}.sqlite") for number in range(3)]
    for spool in spools:
        spool.close()
    assert all(a.epoch != b.epoch for a, b in itertools.combinations(spools, 2))


def test_facts_survive_a_restart(path):
    spool = opened(path)
    assert spool.fact("floor") is None
    spool.remember("floor", "7")
    spool.close()
    spool = opened(path)
    assert spool.fact("floor") == "7"
    spool.close()


def test_a_file_that_was_emptied_is_not_taken_for_a_new_one(path):
    spool = opened(path)
    assert not spool.unacknowledged(9), "a new one owes nothing"
    spool.append(make_records(0, 10))
    spool.close()
    path.write_bytes(b"")
    spool = opened(path)
    (gap,) = spool.unacknowledged(9)
    spool.close()
    assert "empty" in gap.reason


def test_what_is_acknowledged_leaves_the_file_with_the_next_commit(path):
    spool = opened(path)
    for first in range(0, 50, 10):
        spool.append(make_records(first, 10))
    spool.acknowledge(5)
    copy = path.with_name("copy.sqlite")
    spool.append(make_records(50, 10))
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy.sqlite-wal").write_bytes(path.with_name("spool.sqlite-wal").read_bytes())
    spool.close()
    spool = opened(copy)
    assert (spool.first_held, spool.newest) == (6, 6)
    spool.close()


def test_a_long_backlog_is_forgotten_without_new_records(path):
    spool = opened(path)
    for first in range(100):
        spool.append(make_records(first, 1))
    spool.acknowledge(100)
    assert spool._database.value("SELECT count(*) FROM entries") == 0
    spool.close()


@pytest.mark.parametrize("seq", [99, 0])
def test_entries_under_numbers_never_given_out_are_dropped_and_counted(path, seq):
    spool = opened(path)
    for first in range(0, 30, 10):
        spool.append(make_records(first, 10))
    spool.close()
    edited(path, "UPDATE entries SET seq = ? WHERE seq = 3", seq)
    spool = opened(path)
    assert spool.quarantined == 1
    assert [type(entry) for entry in spool.unacknowledged(9)] == [Batch, Batch, Gap]
    spool.close()


def test_a_damaged_note_of_another_part_costs_that_note_only(path):
    spool = opened(path)
    spool.append(make_records(0, 10))
    spool.remember("floor", "7")
    spool.close()
    edited(path, "UPDATE notes SET value = '8' WHERE name = 'floor'")
    spool = opened(path)
    assert spool.fact("floor") is None
    assert (spool.quarantined, len(spool.unacknowledged(9))) == (1, 1)
    spool.close()


def test_only_what_is_held_and_sound_can_differ_from_what_the_server_has(path):
    spool = opened(path)
    for first in range(0, 30, 10):
        spool.append(make_records(first, 10))
    crc32 = spool.unacknowledged(9)[2].crc32
    assert not spool.differs(3, crc32)
    assert spool.differs(3, crc32 + 1)
    assert not spool.differs(4, crc32)
    spool.acknowledge(3)
    assert not spool.differs(3, crc32 + 1)
    spool.close()


def test_of_a_damaged_file_what_can_be_read_is_sent_and_the_rest_declared(path):
    """One page after another is struck."""
    spool = opened(path)
    for first in range(0, 300, 10):
        spool.append(make_records(first, 10))
    spool.close()
    whole, kept = path.read_bytes(), []
    for page in range(4096, len(whole), 4096):
        path.write_bytes(whole[:page] + b"\xff" * 8 + whole[page + 8 :])
        spool = opened(path)
        spool.append(make_records(295, 15))
        entries = spool.unacknowledged(99)
        spool.close()
        path.unlink()
        for copy in path.parent.glob("*.damaged-*"):
            copy.unlink()
        kept.append(records_in(entries, Batch))
        assert_complete(entries)
    assert max(kept) == 310
    assert sum(count > 155 for count in kept) > len(kept) / 2


def assert_complete(entries: list[Batch | Gap]) -> None:
    """In order, and every hole between two batches is declared to the number."""
    assert [entry.seq for entry in entries] == [*range(1, len(entries) + 1)]
    known = [entry for entry in entries if entry.count]
    ends = [entry.first_record + entry.count for entry in known]
    assert [entry.first_record for entry in known[1:]] == ends[:-1]
    assert ends[-1] == GENERATION + 310


def test_a_kill_between_setting_aside_and_beginning_anew_is_noticed(path):
    spool = opened(path)
    spool.append(make_records(0, 10))
    spool.close()
    path.rename(path.with_name("spool.sqlite.damaged-1"))
    spool = opened(path)
    assert [type(entry) for entry in spool.unacknowledged(9)] == [Gap, Batch, Gap]
    spool.close()


def test_damaged_files_do_not_fill_the_disk(path):
    for _ in range(12):
        opened(path).close()
        path.write_bytes(b"not a database" * 99)
    opened(path).close()
    kept = sorted(other.name for other in path.parent.iterdir() if "damaged" in other.name)
    assert kept == [f"spool.sqlite.damaged-{number}" for number in (10, 11, 12)]


def test_the_log_stays_small(path):
    spool = opened(path)
    for first in range(0, 6000, 10):
        spool.append(make_records(first, 10))
        spool.acknowledge(spool.newest)
    size = path.with_name("spool.sqlite-wal").stat().st_size
    spool.close()
    assert size < 2 << 20


def test_a_full_disk_gets_the_log_back_before_anything_is_refused(path, monkeypatch):
    """As where the log itself has taken the rest of the disk."""
    spool = opened(path)
    for first in range(0, 100, 10):
        spool.append(make_records(first, 10))
    spool.acknowledge(5)
    log, commit = path.with_name("spool.sqlite-wal"), Spool._commit
    before = log.stat().st_size

    def full_while_the_log_is_long(spool: Spool, *arguments: object) -> None:
        if log.stat().st_size >= before:
            raise FullError("disk full")
        commit(spool, *arguments)

    monkeypatch.setattr(Spool, "_commit", full_while_the_log_is_long)
    assert spool.append(make_records(100, 10)) == 10
    assert not spool.refusing
    spool.close()
