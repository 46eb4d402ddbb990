"""Whatever breaks, in whatever order: every record arrives once, or its loss is on record."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from made_link import Link, Robot, Server
from made_records import DTYPE, GENERATION, make_records

from offboard.losses import FORGOTTEN
from protocol.errors import StoreError
from protocol.messages import Batch, Gap, decode_to_server

SHARED_MEMORY = Path("/dev/shm")
Few = st.integers(1, 6)


class Delivery(RuleBasedStateMachine):
    """One robot, one server, and everything that can happen between them."""

    def __init__(self) -> None:
        super().__init__()
        place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self.directory = Path(tempfile.mkdtemp(dir=place))
        self.backup = self.directory / "backup.sqlite"
        self.link = Link()
        self.server = Server(self.directory / "episodes.sqlite")
        self.robot = Robot(self.directory / "spool.sqlite", self.link)
        self.now_s = 0.0
        self.produced = np.empty(0, DTYPE)
        self.next_number = 0
        self.spool_backup = self.directory / "backup-spool.sqlite"
        self.overflowed: set[int] = set()
        self.forgotten: set[int] = set()
        self.undone: set[int] = set()
        self.blurred: set[int] = set()
        self.unread: set[int] = set()

    def teardown(self) -> None:
        try:
            self.heal()
            self.check_everything_arrived_or_is_declared()
        finally:
            self.robot.stop()
            self.server.stop()
            shutil.rmtree(self.directory)

    # What the robot does.

    @rule(count=st.integers(1, 40))
    def produce(self, count: int) -> None:
        rows = make_records(self.next_number, count)
        self.next_number += count
        self.produced = np.concatenate([self.produced, rows])
        self.robot.ring = np.concatenate([self.robot.ring, rows])

    @rule(count=Few)
    def overflow_the_ring(self, count: int) -> None:
        first = self.next_number + GENERATION
        self.overflowed.update(range(first, first + count))
        self.next_number += count

    @rule()
    def collect(self) -> None:
        self.robot.collect()

    @rule()
    def stream(self) -> None:
        with suppress(StoreError):  # as the agent does: the next turn goes on
            self.robot.uplink.step(self.now_s)

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def be_well_for_a_while(self) -> None:
        """Without it hardly anything is ever acknowledged, trimmed, and then forgotten."""
        for _ in range(4):
            self.produce(3)
            self.robot.collect()
            with suppress(StoreError):
                self.robot.uplink.step(self.now_s)
            self.server.handle(self.link, 100)
            self.now_s += 4.0

    # What the network does.

    @rule(count=Few)
    def deliver(self, count: int) -> None:
        self.server.handle(self.link, count)

    @rule(back=st.booleans(), at=st.integers(0, 15))
    def lose(self, back: bool, at: int) -> None:
        queue = self.link.to_robot if back else self.link.to_server
        if at < len(queue):
            del queue[at]

    @rule(back=st.booleans(), at=st.integers(0, 15))
    def duplicate(self, back: bool, at: int) -> None:
        queue = self.link.to_robot if back else self.link.to_server
        if at < len(queue):
            queue.insert(at, queue[at])

    @rule(back=st.booleans(), at=st.integers(0, 14))
    def swap(self, back: bool, at: int) -> None:
        queue = self.link.to_robot if back else self.link.to_server
        if at + 1 < len(queue):
            queue[at], queue[at + 1] = queue[at + 1], queue[at]

    @rule(at=st.integers(0, 15), byte=st.integers(0, 200))
    def damage_on_the_way(self, at: int, byte: int) -> None:
        if at < len(self.link.to_server):
            message = bytearray(self.link.to_server[at])
            message[byte % len(message)] ^= 16
            self.link.to_server[at] = bytes(message)

    # What breaks.

    @rule(in_the_middle=st.booleans(), quota_bytes=st.sampled_from([3000, 1 << 20]))
    def kill_robot(self, in_the_middle: bool, quota_bytes: int) -> None:
        if in_the_middle:
            self.robot.collect(release=False)
        self.robot.stop()
        self.link.cut()
        self.robot.start(quota_bytes)

    @rule(quota_bytes=st.sampled_from([3000, 1 << 20]))
    def cut_power(self, quota_bytes: int) -> None:
        """What memory held is gone, the ring with it, and the next one counts from zero."""
        self.robot.stop()
        self.link.cut()
        self.robot.ring = self.robot.ring[:0]
        generation = (self.next_number + GENERATION) // GENERATION
        self.next_number = generation * GENERATION
        self.robot.start(quota_bytes)
        self.note_what_no_spool_saw()

    @rule()
    def kill_server(self) -> None:
        self.server.stop()
        self.link.cut()
        self.server.start()

    @rule()
    def back_up_server(self) -> None:
        self.server.copy(self.server.path, self.backup)
        self.link.cut()

    @rule()
    def restore_server(self) -> None:
        if self.backup.exists():
            before = self.on_record()
            self.server.copy(self.backup, self.server.path)
            self.link.cut()
            self.forgotten |= before - self.on_record()

    @rule()
    def fill_the_robots_disk(self) -> None:
        self.robot.fill_disk()

    @rule()
    def fill_the_servers_disk(self) -> None:
        self.server.fill_disk()

    @rule()
    def back_up_spool(self) -> None:
        self.robot.copy(self.robot.path, self.spool_backup)
        self.link.cut()

    @rule()
    def restore_spool(self) -> None:
        """As a power cut does on a disk that lies about having written."""
        if self.spool_backup.exists():
            self.robot.copy(self.spool_backup, self.robot.path)
            self.link.cut()
            self.undone |= self.numbers_produced() - set(self.robot.ring["seq"].tolist())
            self.note_what_no_spool_saw()

    def note_what_no_spool_saw(self) -> None:
        """Records of ended ring generations after the last one that the spool's file speaks of."""
        begin = (self.next_number + GENERATION) // GENERATION * GENERATION
        last = self.robot.spool._tail.record
        made = self.numbers_produced() | self.overflowed
        self.unread |= {number for number in made if last < number < begin}

    @rule(
        offset=st.integers(0, 5),
        column=st.sampled_from(["kind", "first_record", "records", "label", "data", "crc32"]),
    )
    def flip_a_bit_in_the_spool(self, offset: int, column: str) -> None:
        self.robot.stop()
        self.link.cut()
        flip = "CAST('x' || substr(data, 2) AS BLOB)" if column == "data" else f"{column} + 1"
        chosen = "kind = 0 AND seq = (SELECT min(seq) + ? FROM entries)"
        with closing(sqlite3.connect(self.robot.path)) as connection, connection:
            span = connection.execute(
                f"SELECT first_record, records FROM entries WHERE {chosen}", (offset,)
            ).fetchone()
            connection.execute(f"UPDATE entries SET {column} = {flip} WHERE {chosen}", (offset,))
        if span and column not in {"data", "crc32"}:
            self.blurred.update(range(span[0], sum(span)))
        self.robot.start(1 << 20)

    # What must hold.

    @invariant()
    def what_is_committed_is_what_was_produced_each_once_and_in_order(self) -> None:
        records = self.server.records()
        numbers = records["seq"].astype(np.int64)
        assert (np.diff(numbers) > 0).all()
        known = np.isin(self.produced["seq"], records["seq"])
        assert self.produced[known].tobytes() == records.tobytes()
        assert self.undone or self.server.store.account("r").duplicates == 0

    def on_record(self) -> set[int]:
        """Numbers the server has or knows to be lost."""
        return {int(number) for number in self.server.records()["seq"]} | set(self.declared())

    def declared(self) -> list[int]:
        return [
            number
            for gap in self.server.store.gaps("r")
            for number in range(gap.first_record, gap.first_record + gap.count)
        ]

    def heal(self) -> None:
        """Everything works from now on, and there is room."""
        self.server.stop()
        self.server.start()
        self.robot.stop()
        self.link.cut()
        self.robot.start(1 << 20)
        self.produce(1)  # declares what was refused before
        for _ in range(200):
            self.robot.collect()
            self.robot.uplink.step(self.now_s)
            self.server.handle(self.link, 100)
            self.robot.uplink.step(self.now_s)
            self.now_s += 1.0
            if self.robot.spool.first_held > self.robot.spool.newest:
                return
        raise AssertionError("the stream is wedged")

    def check_everything_arrived_or_is_declared(self) -> None:
        committed = {int(number) for number in self.server.records()["seq"]}
        declared = set(self.declared())
        assert not committed & declared - self.undone
        lost = self.numbers_produced() - committed
        doubtful = self.blurred | self.unread | self.uncounted()
        assert lost <= declared | doubtful
        if lost - declared:
            assert any(leaves_open(gap) for gap in self.server.store.gaps("r"))
        assert self.overflowed <= declared | doubtful
        self.check_every_generation_whose_end_is_lost_is_doubted(lost - declared)
        self.check_the_count_of_what_was_forgotten(lost)

    def check_every_generation_whose_end_is_lost_is_doubted(self, missing: set[int]) -> None:
        gaps = self.server.store.gaps("r")
        for generation in {number // GENERATION for number in missing & self.unread}:
            assert any(doubts(gap, generation) for gap in gaps)

    def uncounted(self) -> set[int]:
        """What a server that was restored forgot of a ring generation that was over by then."""
        gaps = self.server.store.gaps("r")
        return self.forgotten if any("not counted" in gap.reason for gap in gaps) else set()

    def check_the_count_of_what_was_forgotten(self, lost: set[int]) -> None:
        """An older copy cost no more than what only the newer one had, and that is counted."""
        told = [
            number
            for gap in self.server.store.gaps("r")
            if FORGOTTEN in gap.reason
            for number in range(gap.first_record, gap.first_record + gap.count)
        ]
        assert len(told) == len(set(told)) == self.server.store.account("r").forgotten
        assert set(told) <= lost | self.overflowed

    def numbers_produced(self) -> set[int]:
        return {int(number) for number in self.produced["seq"]}


def leaves_open(gap: Gap) -> bool:
    """Does it not say, or not say of all, how many are lost?"""
    return gap.count == 0 or "not counted" in gap.reason


def doubts(gap: Gap, generation: int) -> bool:
    """Does this gap leave open what a ring generation made? Damage names no generation."""
    found = re.match(
        r"ring generation (\d+) follows (?:record \d+ of generation (\d+))?", gap.reason
    )
    if found is None:
        return leaves_open(gap)
    return int(found[2] or 0) <= generation < int(found[1])


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    phases=set(Phase) - {Phase.explain},
)


def test_entries_in_flight_are_decodable_messages():
    """The link of this model carries what the wire carries."""
    link = Link()
    with tempfile.TemporaryDirectory() as directory:
        robot = Robot(Path(directory) / "spool.sqlite", link)
        server = Server(Path(directory) / "episodes.sqlite")
        robot.ring = np.concatenate([make_records(0, 5), make_records(9, 5)])
        robot.collect()
        for _ in range(2):
            robot.uplink.step(0.0)
            kinds = [type(decode_to_server(data)) for data in link.to_server]
            server.handle(link, 9)
        robot.stop()
        server.stop()
    assert kinds == [Batch, Gap, Batch]
