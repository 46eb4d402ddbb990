"""Is every row seen once and in order, or counted as dropped, whatever dies when?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from onboard.durable import advance
from onboard.ring import GENERATION_SHIFT, RingReader, RingWriter
from protocol.step_record import record_dtype

DTYPE = record_dtype(2, 1)
CAPACITY = 5


class Ring(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ring"
        self.held: list[int] = []  # the model: numbers in the ring
        self.tick = 0
        self.last_seen = -1
        self.open_writer()
        self.reader = RingReader(self.path, DTYPE)

    def open_writer(self) -> None:
        state = Path(self.folder.name) / "generation"
        self.writer = RingWriter(self.path, DTYPE, CAPACITY, lambda: advance(state)).open()

    @rule(rows=st.integers(1, 8))
    def produce(self, rows: int) -> None:
        for _ in range(rows):
            fits = len(self.held) < CAPACITY
            self.writer.row["tick"] = self.tick
            assert self.writer.commit() == fits
            if fits:
                self.held.append(self.tick)
            self.tick += 1

    @rule(wanted=st.integers(1, 9), kept=st.integers(0, 3))
    def consume(self, wanted: int, kept: int) -> None:
        rows = self.reader.peek(wanted)
        assert rows["tick"].tolist() == self.held[:wanted]
        count = max(0, len(rows) - kept)
        for row in rows[:count]:
            assert int(row["seq"]) == (1 << GENERATION_SHIFT) + int(row["tick"])
            assert int(row["seq"]) > self.last_seen
            self.last_seen = int(row["seq"])
        self.reader.release(count)
        del self.held[:count]

    @rule()
    def reader_dies(self) -> None:
        self.reader.close()
        self.reader = RingReader(self.path, DTYPE)

    @rule()
    def writer_dies(self) -> None:
        self.writer.row["tick"] = 0xDEAD  # half a row was filled in
        self.writer.close()
        self.open_writer()

    @invariant()
    def nothing_is_unaccounted(self) -> None:
        assert self.writer.produced == self.tick

    def teardown(self) -> None:
        self.writer.close()
        self.reader.close()
        self.folder.cleanup()


TestRing = Ring.TestCase
TestRing.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
