"""Only ``last + 1`` is accepted, and only what it says it is."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest
import zstandard
from made_records import DTYPE, GENERATION, make_records

from offboard.intake import admit, decode_batch
from onboard.spool_entry import Tail, entries_of
from protocol.errors import WireError
from protocol.messages import Batch, Gap, batch_crc32

EPOCH = "0" * 32


def batch(seq: int, rows: np.ndarray | None = None) -> Batch:
    rows = make_records(10 * seq, 10) if rows is None else rows
    (entry,) = entries_of(rows, Tail())
    return entry.message(EPOCH, seq)


def altered(original: Batch, **changes: object) -> Batch:
    """A batch whose CRC is right again after a change of its content."""
    changed = msgspec.structs.replace(original, **changes)
    crc = batch_crc32(changed.first_record, changed.count, changed.data)
    return msgspec.structs.replace(changed, crc32=crc)


def gap(seq: int) -> Gap:
    return Gap(epoch=EPOCH, seq=seq, first_record=0, count=0, reason="lost")


def test_batches_and_gaps_in_order_are_taken():
    intake = admit(4, [batch(5), gap(6), batch(7)], DTYPE)
    assert [entry.seq for entry in intake.entries] == [5, 6, 7]
    assert (intake.last, intake.duplicates, intake.resend) == (7, 0, False)
    assert [len(rows) for rows in intake.rows] == [10, 10]


def test_what_is_known_is_counted_and_not_taken_again():
    intake = admit(5, [batch(4), batch(5), batch(6)], DTYPE)
    assert [entry.seq for entry in intake.entries] == [6]
    assert intake.duplicates == 2


def test_behind_a_hole_nothing_is_taken_and_the_robot_goes_back():
    intake = admit(4, [batch(6), batch(7)], DTYPE)
    assert not intake.entries
    assert (intake.last, intake.resend) == (4, True)


def test_a_hole_filled_in_the_same_breath_needs_no_resend():
    intake = admit(4, [batch(6), batch(5), batch(6)], DTYPE)
    assert (intake.last, intake.resend) == (6, False)


def test_damage_on_the_way_is_asked_for_again():
    original = batch(5)
    damaged = msgspec.structs.replace(original, data=b"x" + original.data[1:])
    intake = admit(4, [damaged], DTYPE)
    assert (intake.entries, intake.refused, intake.resend) == ([], None, True)


def bad_rows(field: str, value: float) -> np.ndarray:
    rows = make_records(0, 10)
    rows[field][3] = value
    return rows


def late_rows(seconds: float) -> np.ndarray:
    rows = make_records(0, 10)
    rows["act_ns"][3] = rows["sense_ns"][3] + int(seconds * 1e9)
    return rows


CONTENT = {
    "NaN observation": batch(5, bad_rows("obs", np.nan)),
    "action out of range": batch(5, bad_rows("applied", 1.5)),
    "unknown mode": batch(5, bad_rows("mode", 200)),
    "time runs backwards": batch(5, bad_rows("sense_ns", -(10**18))),
    "a clock before its start": batch(5, bad_rows("sense_ns", -1)),
    "a clock of twenty-one years": batch(5, bad_rows("sense_ns", 21 * 366 * 86_400 * 10**9)),
    "an answer after an hour": batch(5, late_rows(3601)),
    "a joint in orbit": batch(5, bad_rows("obs", 1.1e6)),
    "wrong first record": altered(batch(5), first_record=GENERATION + 1),
    "count too high": altered(batch(5), count=11),
    "no zstd": altered(batch(5), data=b"not compressed"),
    "trailing bytes": altered(batch(5), data=batch(5).data + b"more"),
    "cut short": altered(batch(5), data=batch(5).data[:-8]),
}


@pytest.mark.parametrize("fault", CONTENT)
def test_bad_content_is_refused_for_good_and_what_came_before_is_kept(fault):
    intake = admit(3, [batch(4), CONTENT[fault], batch(6)], DTYPE)
    assert [entry.seq for entry in intake.entries] == [4]
    assert intake.refused is not None
    assert intake.refused[0] == 5


def test_a_process_frozen_for_minutes_is_still_data():
    assert len(decode_batch(batch(5, late_rows(600)), DTYPE)) == 10


def test_a_small_message_cannot_claim_a_huge_memory():
    bomb = altered(batch(5), data=zstandard.compress(bytes(64 << 20)))
    assert len(bomb.data) < 10_000
    with pytest.raises(WireError, match="do not hold"):
        decode_batch(bomb, DTYPE)


def test_a_policy_that_asked_for_nan_is_still_data():
    assert len(decode_batch(batch(5, bad_rows("requested", np.nan)), DTYPE)) == 10


def test_the_crc_covers_the_numbers():
    data = b"abc"
    assert batch_crc32(1, 2, data) != batch_crc32(1, 3, data)
    assert batch_crc32(1, 2, data) != batch_crc32(2, 2, data)
    assert batch_crc32(0, 0, b"") == zlib.crc32(bytes(16))


def test_a_refused_batch_ends_the_run_and_what_came_before_it_is_taken():
    bad = make_records(60, 10)
    bad["obs"][3] = np.nan
    intake = admit(4, [batch(5), batch(6, bad), batch(6, bad), batch(7)], DTYPE)
    assert [entry.seq for entry in intake.entries] == [5]
    assert [len(rows) for rows in intake.rows] == [10]
    assert (intake.last, intake.duplicates, intake.resend) == (5, 0, True)
    assert intake.refused is not None
    assert intake.refused[0] == 6


def test_a_run_checked_at_once_is_what_each_batch_alone_is():
    """With a hole between records, and a clock that runs backwards between two batches."""
    late = make_records(80, 10)
    late["sense_ns"] -= late["sense_ns"][0]
    late["act_ns"] = late["sense_ns"]
    batches = [batch(5), batch(6), batch(7, make_records(75, 5)), batch(8, late)]
    intake = admit(4, batches, DTYPE)
    assert intake.last == 8
    for rows, alone in zip(intake.rows, batches, strict=True):
        assert rows.tobytes() == decode_batch(alone, DTYPE).tobytes()


def test_a_batch_that_is_not_where_it_claims_to_be_in_a_run_is_refused():
    """Its neighbours' numbers fit what it claims, not what it holds."""
    moved = altered(batch(6, make_records(50, 10)), first_record=GENERATION + 60)
    intake = admit(4, [batch(5), moved, batch(7)], DTYPE)
    assert (intake.last, intake.refused) == (
        5,
        (6, f"batch 6 does not begin with record {GENERATION + 60}"),
    )


def test_more_than_one_batch_may_hold_is_checked_in_parts():
    batches = [batch(n, make_records(3000 * n, 3000)) for n in range(1, 8)]
    intake = admit(0, batches, DTYPE)
    assert [len(rows) for rows in intake.rows] == [3000] * 7
