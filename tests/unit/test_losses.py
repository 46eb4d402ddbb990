"""A store restored from an older copy: what comes again, and the count of what does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_link import Link, Robot, Server
from made_records import GENERATION, make_records

from offboard.episode_store import Delivery
from offboard.losses import FORGOTTEN, Loss, counted, forgotten_gap, losses_of
from onboard.spool_entry import Tail, entries_of
from protocol.errors import StoreError
from protocol.messages import Batch, Gap

EPOCH = "a" * 32


class Pair:
    """A robot and its server, and turns in which they speak until there is nothing to say."""

    def __init__(self, folder: Path) -> None:
        self.link = Link()
        self.server = Server(folder / "episodes.sqlite")
        self.robot = Robot(folder / "spool.sqlite", self.link)
        self.copy = folder / "copy.sqlite"
        self.now_s = 0.0

    def spool(self, first: int, count: int = 10, generation: int = 1) -> None:
        self.robot.ring = make_records(first, count, generation)
        self.robot.collect()

    def talk(self) -> None:
        for _ in range(8):
            self.robot.uplink.step(self.now_s)
            self.server.handle(self.link, 99)
            self.now_s += 2.0
        self.robot.uplink.step(self.now_s)

    def back_up(self) -> None:
        self.server.copy(self.server.path, self.copy)
        self.link.cut()

    def restore(self) -> None:
        self.server.copy(self.copy, self.server.path)
        self.link.cut()

    def greet_again(self) -> None:
        self.robot.spool.close()
        self.robot.start(1 << 20)
        self.talk()

    def stop(self) -> None:
        self.robot.stop()
        self.server.stop()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.stop()


def test_what_the_robot_has_trimmed_is_a_hole_of_so_many_records(pair):
    pair.spool(0)
    pair.talk()
    pair.back_up()
    for first in (10, 20, 30):
        pair.spool(first)
        pair.talk()
    pair.restore()
    pair.spool(40)
    pair.talk()
    account = pair.server.store.account("r")
    assert (account.committed, account.holes, account.forgotten) == (20, 30, 30)
    assert pair.server.store.losses("r") == [Loss(f"batches # to # {FORGOTTEN}", 1, 30, 0)]
    (gap,) = pair.server.store.gaps("r")
    assert (gap.first_record, gap.count) == (GENERATION + 10, 30)
    assert gap.reason.startswith("batches 2 to 4 ")


def test_what_the_robot_still_holds_comes_again_and_nothing_is_lost(pair):
    pair.spool(0)
    pair.talk()
    pair.back_up()
    pair.spool(10)
    while pair.server.store.account("r").committed < 20:
        pair.robot.uplink.step(pair.now_s)
        pair.server.handle(pair.link, 99)
        pair.now_s += 2.0
    pair.restore()  # what was on the way is lost, the acknowledgement too
    pair.talk()
    account = pair.server.store.account("r")
    assert (account.committed, account.holes, account.forgotten) == (20, 0, 0)
    assert pair.server.store.losses("r") == []


def test_until_something_comes_the_loss_is_known_and_its_extent_is_not(pair):
    pair.spool(0)
    pair.talk()
    pair.back_up()
    pair.spool(10)
    pair.talk()
    pair.restore()
    pair.greet_again()
    pair.greet_again()
    (loss,) = pair.server.store.losses("r")
    assert (loss.records, loss.unknown) == (0, 1)
    pair.spool(20)
    pair.talk()
    assert pair.server.store.account("r").forgotten == 10


def test_a_store_begun_anew_counts_from_the_beginning_of_the_ring(pair, tmp_path):
    for first in (0, 10, 20):
        pair.spool(first)
        pair.talk()
    pair.server.stop()
    for file in tmp_path.glob("episodes.sqlite*"):
        file.unlink()
    pair.server.start()
    pair.link.cut()
    pair.spool(30)
    pair.talk()
    account = pair.server.store.account("r")
    assert (account.committed, account.forgotten) == (10, 30)


def test_two_losses_before_one_record_are_counted_once(pair):
    pair.spool(0)
    pair.talk()
    pair.back_up()
    pair.spool(10)
    pair.talk()
    pair.restore()
    pair.greet_again()
    pair.server.store.greet("r", pair.robot.spool.epoch, first_held=5)  # trimmed two more
    pair.server.stop()
    pair.server.start()
    store, epoch = pair.server.store, pair.robot.spool.epoch
    (entry,) = entries_of(make_records(40, 10), Tail())
    store.accept([Delivery("r", epoch, [entry.message(epoch, 5)])])
    assert store.account("r").forgotten == 30


def test_a_failed_commit_counts_nothing(pair):
    store = pair.server.store
    store.greet("r", EPOCH, first_held=3)
    (entry,) = entries_of(make_records(20, 10), Tail())
    batch: Batch = entry.message(EPOCH, 3)
    with pytest.raises(StoreError, match="is next"):
        store.accept([Delivery("r", EPOCH, [batch]), Delivery("s", EPOCH, [batch])])
    assert store.losses("r")[0].unknown == 1
    store.accept([Delivery("r", EPOCH, [batch])])
    assert store.losses("r")[0].records == 20


def test_a_count_over_a_new_ring_says_what_it_leaves_out() -> None:
    gap = forgotten_gap(EPOCH, 3, 9)
    over = counted(gap, GENERATION + 70, 2 * GENERATION + 5)
    assert (over.first_record, over.count) == (2 * GENERATION, 5)
    assert "not counted" in over.reason


def test_nothing_between_is_a_loss_of_nothing() -> None:
    gap = counted(forgotten_gap(EPOCH, 3, 9), GENERATION + 70, GENERATION + 70)
    assert losses_of([gap]) == [Loss(f"batches # to # {FORGOTTEN}", 1, 0, 0)]


def test_losses_are_summed_by_reason_the_most_first() -> None:
    gaps = [
        Gap(epoch=EPOCH, seq=1, first_record=5, count=2, reason="disk full"),
        Gap(epoch=EPOCH, seq=2, first_record=9, count=7, reason="kept as spool-1.sqlite"),
        Gap(epoch=EPOCH, seq=3, first_record=0, count=0, reason="kept as spool-22.sqlite"),
    ]
    assert losses_of(gaps) == [
        Loss("kept as spool-#.sqlite", 2, 7, 1),
        Loss("disk full", 1, 2, 0),
    ]
