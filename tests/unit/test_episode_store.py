"""The catalogue: each batch once and in order, and an account that adds up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_records import GENERATION, SPEC, make_records

from offboard.episode_store import Delivery, EpisodeStore, open_episode_store
from offboard.record_account import account_of
from onboard.spool_entry import Tail, entries_of
from protocol.errors import StoreError
from protocol.messages import Batch, Gap

EPOCH, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    store = open_episode_store(tmp_path / "episodes.sqlite", SPEC)
    yield store
    store.close()


def batch(seq: int, first: int, count: int = 10, epoch: str = EPOCH, generation: int = 1) -> Batch:
    (entry,) = entries_of(make_records(first, count, generation), Tail())
    return entry.message(epoch, seq)


def collected(store: EpisodeStore, after_seq: int = -1) -> list[int]:
    parts = [rows["seq"].astype(int) - GENERATION for rows in store.rows("r", after_seq)]
    return [int(number) for part in parts for number in part]


def test_rows_come_back_in_order_and_bit_identical(store):
    store.accept([Delivery("r", EPOCH, [batch(1, 0), batch(2, 10)])])
    rows = np.concatenate([*store.rows("r")])
    expected = np.concatenate([make_records(0, 10), make_records(10, 10)])
    assert rows.tobytes() == expected.tobytes()


def test_rows_can_be_read_from_anywhere(store):
    store.accept([Delivery("r", EPOCH, [batch(n + 1, 10 * n) for n in range(600)])])
    assert collected(store) == [*range(6000)]
    assert collected(store, GENERATION + 4321) == [*range(4322, 6000)]


@pytest.mark.parametrize("numbers", [[2], [1, 3], [2, 1], [1, 1], [0, 1]])
def test_out_of_order_is_refused_whole(store, numbers):
    entries = [batch(number, 10 * number) for number in numbers]
    with pytest.raises(StoreError, match="batch 1 is next"):
        store.accept([Delivery("r", EPOCH, entries)])
    assert store.last("r", EPOCH) == 0
    assert collected(store) == []


def test_one_bad_delivery_undoes_all_of_the_transaction(store):
    with pytest.raises(StoreError):
        store.accept([Delivery("a", EPOCH, [batch(1, 0)]), Delivery("b", EPOCH, [batch(9, 0)])])
    assert store.last("a", EPOCH) == 0


def test_streams_of_two_robots_and_epochs_do_not_meet(store):
    store.accept([Delivery("r", EPOCH, [batch(1, 0)]), Delivery("s", EPOCH, [batch(1, 0)])])
    store.accept([Delivery("r", OTHER, [batch(1, 10, epoch=OTHER)])])
    assert [store.last(r, e) for r, e in (("r", EPOCH), ("r", OTHER), ("s", OTHER))] == [1, 1, 0]
    assert collected(store) == [*range(20)]
    assert store.robots() == ["r", "s"]


def test_records_that_came_twice_are_read_once_and_accounted_for(store):
    store.accept([Delivery("r", EPOCH, [batch(1, 0), batch(2, 10)])])
    store.accept([Delivery("r", OTHER, [batch(1, 5, 10, OTHER)])])
    assert collected(store) == [*range(20)]
    account = store.account("r")
    assert (account.committed, account.duplicates, account.holes) == (20, 10, 0)


def test_a_greeting_shows_what_is_committed(store):
    assert store.greet("r", EPOCH, first_held=1) == 0
    store.accept([Delivery("r", EPOCH, [batch(1, 0)])])
    assert store.greet("r", EPOCH, first_held=1) == 1


def test_what_nobody_holds_any_more_is_put_on_record_and_the_stream_goes_on(store):
    store.accept([Delivery("r", EPOCH, [batch(1, 0)])])
    assert store.greet("r", EPOCH, first_held=6) == 5
    store.accept([Delivery("r", EPOCH, [batch(6, 50)])])
    (gap,) = store.gaps("r")
    assert "batches 2 to 5" in gap.reason
    assert store.account("r").holes == 40


def test_declared_gaps_are_kept_apart_from_records(store):
    lost = Gap(epoch=EPOCH, seq=1, first_record=GENERATION, count=7, reason="disk full")
    store.accept([Delivery("r", EPOCH, [lost, batch(2, 7)])])
    account = store.account("r")
    assert (account.committed, account.declared) == (10, 7)
    assert store.gaps("r") == [lost]


def test_everything_is_there_after_reopening(store, tmp_path):
    store.accept([Delivery("r", EPOCH, [batch(1, 0)])])
    store.close()
    again = open_episode_store(tmp_path / "episodes.sqlite", SPEC)
    assert again.last("r", EPOCH) == 1
    again.close()


def test_a_catalogue_of_another_robot_file_is_refused(store, tmp_path):
    store.close()
    other = msgspec.structs.replace(SPEC, control_hz=100)
    with pytest.raises(StoreError, match="another robot file"):
        open_episode_store(tmp_path / "episodes.sqlite", other)


def test_two_processes_cannot_share_it(store, tmp_path):
    with pytest.raises(StoreError, match="locked"):
        open_episode_store(tmp_path / "episodes.sqlite", SPEC)


@pytest.mark.parametrize(
    ("spans", "committed", "holes", "duplicates"),
    [
        ([], 0, 0, 0),
        ([(100, 5)], 5, 0, 0),
        ([(100, 5), (105, 5)], 10, 0, 0),
        ([(100, 5), (107, 5)], 10, 2, 0),
        ([(100, 5), (103, 5)], 8, 0, 2),
        ([(100, 9), (102, 3), (109, 1)], 10, 0, 3),
        ([(100, 5), (GENERATION + 3, 5)], 10, 0, 0),
        ([(100, 5), (GENERATION, 5), (GENERATION + 6, 1)], 11, 1, 0),
    ],
)
def test_account_by_hand(spans, committed, holes, duplicates):
    account = account_of(spans)
    assert (account.committed, account.holes, account.duplicates) == (committed, holes, duplicates)
