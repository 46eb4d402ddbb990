"""Does the ring keep rows, numbers and losses straight across restarts of either side?"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from onboard.durable import advance, read_number, taken, write_number
from onboard.ring import GENERATION_SHIFT, HEADER_BYTES, UNREADABLE_PEEKS, RingReader, RingWriter
from protocol.errors import StoreError
from protocol.step_record import record_dtype

DTYPE = record_dtype(7, 1)


def writer(folder: Path, capacity: int = 4, dtype: np.dtype[np.void] = DTYPE) -> RingWriter:
    return RingWriter(
        folder / "run" / "ring", dtype, capacity, lambda: advance(folder / "ring_generation")
    )


def commit(ring: RingWriter, tick: int) -> bool:
    ring.row["tick"] = tick
    return ring.commit()


def test_rows_arrive_in_order_and_stay_until_released(tmp_path: Path) -> None:
    reader = RingReader(tmp_path / "run" / "ring", DTYPE)
    assert len(reader.peek(10)) == 0  # no ring yet
    with closing(writer(tmp_path).open()) as ring:
        assert all(commit(ring, tick) for tick in (10, 11, 12))
        assert reader.peek(2)["tick"].tolist() == [10, 11]
        assert reader.peek(9)["tick"].tolist() == [10, 11, 12]
        reader.release(2)
        rows = reader.peek(9)
        assert rows["tick"].tolist() == [12]
        assert rows.dtype == DTYPE
        assert rows["seq"].tolist() == [(1 << GENERATION_SHIFT) + 2]
    reader.close()


def test_a_full_ring_drops_counts_and_leaves_a_gap(tmp_path: Path) -> None:
    reader = RingReader(tmp_path / "run" / "ring", DTYPE)
    with closing(writer(tmp_path, capacity=2).open()) as ring:
        assert [commit(ring, tick) for tick in range(4)] == [True, True, False, False]
        assert reader.peek(9)["tick"].tolist() == [0, 1]
        reader.release(2)
        assert commit(ring, 4)
        (row,) = reader.peek(9)
        assert int(row["seq"]) & 0xFF == 4
        assert (ring.produced, ring.dropped) == (reader.produced, reader.dropped) == (5, 2)
    reader.close()


def test_a_restarted_writer_goes_on_where_the_old_one_died(tmp_path: Path) -> None:
    reader = RingReader(tmp_path / "run" / "ring", DTYPE)
    with closing(writer(tmp_path).open()) as ring:
        commit(ring, 1)
    with closing(writer(tmp_path).open()) as ring:
        commit(ring, 2)
        assert (reader.peek(9)["seq"] & 0xFF).tolist() == [0, 1]
    assert read_number(tmp_path / "ring_generation") == 1
    reader.close()


def test_another_row_layout_or_a_lost_file_starts_the_next_generation(tmp_path: Path) -> None:
    path = tmp_path / "run" / "ring"
    reader = RingReader(path, DTYPE)
    with closing(writer(tmp_path).open()) as ring:
        commit(ring, 1)
    assert len(reader.peek(9)) == 1
    path.unlink()
    with closing(writer(tmp_path).open()) as ring:
        commit(ring, 2)
        assert reader.peek(9)["tick"].tolist() == [1]  # the old file first
        reader.release(1)
        (row,) = reader.peek(9)
        assert (int(row["tick"]), int(row["seq"]) >> GENERATION_SHIFT) == (2, 2)
    reader.close()
    with closing(writer(tmp_path, dtype=record_dtype(8, 1)).open()) as ring:
        commit(ring, 3)
    with pytest.raises(StoreError, match="not a record ring of this robot"):
        RingReader(path, DTYPE).peek(1)


def test_only_one_writer_may_be_alive(tmp_path: Path) -> None:
    with (
        closing(writer(tmp_path).open()),
        pytest.raises(StoreError, match="another control process"),
    ):
        writer(tmp_path).open()


def test_a_slot_that_is_not_whole_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "run" / "ring"
    reader = RingReader(path, DTYPE)
    with closing(writer(tmp_path).open()) as ring:
        for tick in range(3):
            commit(ring, tick)
        slot_bytes = (8 + DTYPE.itemsize + 4 + 7) & ~7
        with path.open("r+b") as file:
            file.seek(HEADER_BYTES + slot_bytes + 20)
            file.write(b"\xaa")
        assert reader.peek(9)["tick"].tolist() == [0]
        reader.release(1)
        for _ in range(UNREADABLE_PEEKS):
            assert len(reader.peek(9)) == 0
        assert reader.peek(9)["tick"].tolist() == [2]
        assert reader.corrupt == 1
    reader.close()


def test_rows_that_were_not_peeked_cannot_be_released(tmp_path: Path) -> None:
    reader = RingReader(tmp_path / "run" / "ring", DTYPE)
    with pytest.raises(ValueError, match="cannot release"):
        reader.release(1)


def test_numbers_on_disk_refuse_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "number"
    assert read_number(path) == 0
    write_number(path, 41)
    assert advance(path) == read_number(path) == 42
    path.write_text("x")
    with pytest.raises(StoreError, match="not a readable number"):
        advance(path)
    with pytest.raises(StoreError, match="cannot be written"):
        write_number(path / "below_a_file", 1)


def test_a_new_ring_tells_where_the_one_before_ended_and_an_adopted_one_does_not(
    tmp_path: Path,
) -> None:
    path, reader = tmp_path / "run" / "ring", RingReader(tmp_path / "run" / "ring", DTYPE)
    assert reader.ended == 0
    with closing(RingWriter(path, DTYPE, 4, lambda: 7, ended=99).open()) as ring:
        assert [commit(ring, tick) for tick in range(5)] == [True] * 4 + [False]
        assert ring.end == (7 << GENERATION_SHIFT) + 5
        assert (len(reader.peek(9)), reader.ended) == (4, 99)
    with closing(RingWriter(path, DTYPE, 4, lambda: 8, ended=1234).open()) as ring:
        assert ring.end == (7 << GENERATION_SHIFT) + 5
        reader.peek(9)
        assert reader.ended == 99
    reader.close()
    path.unlink()
    with closing(RingWriter(path, DTYPE, 4, lambda: 8).open()) as ring:
        commit(ring, 1)
        reader.peek(1)
        assert reader.ended == 0
    reader.close()


def test_a_number_that_is_taken_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "ring_end"
    assert taken(path) == 0
    write_number(path, 12)
    assert (taken(path), taken(path), path.exists()) == (12, 0, False)
    path.mkdir()
    with pytest.raises(StoreError, match="ring_end"):
        taken(path)
