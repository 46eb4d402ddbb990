"""Are rows refused for each reason, and transitions lost only where a gap touches them?"""

from __future__ import annotations

import numpy as np
import pytest
from made_records import DTYPE, make_records

from protocol.errors import WireError
from protocol.modes import Mode
from protocol.step_record import End, Flag, Rows, decode_rows, record_dtype, transition_mask

GOLDEN_ROW = (
    "0102000000010000" "0300000000000000" "0400000000000000" "0500000000000000"
    "06000000" "07000000" "08000000" "00110000" "0000003f" "0000c03f" "04" "02"
    "0000803f" "00000040" "0000803e" "000080be"
)  # fmt: skip


def golden_row() -> Rows:
    row = np.zeros(1, dtype=record_dtype(2, 1))
    row["seq"], row["tick"], row["sense_ns"], row["act_ns"] = (1 << 40) + 0x201, 3, 4, 5
    row["episode"], row["step"], row["policy_version"] = 6, 7, 8
    row["flags"] = Flag.EXPLORING | Flag.BAD_POLICY
    row["period_error_us"], row["work_us"] = 0.5, 1.5
    row["mode"], row["end"] = Mode.RUN, End.TRUNCATED
    row["obs"], row["requested"], row["applied"] = [[1.0, 2.0]], 0.25, -0.25
    return row


def test_a_row_is_packed_little_endian_as_stored_episodes_are() -> None:
    assert golden_row().tobytes().hex() == GOLDEN_ROW


def test_stored_bytes_are_read_back() -> None:
    rows = decode_rows(bytes.fromhex(GOLDEN_ROW), record_dtype(2, 1), 1)
    assert rows.tobytes() == golden_row().tobytes()
    assert not rows.flags.writeable


def test_no_rows_are_no_error() -> None:
    assert len(decode_rows(b"", DTYPE, 0)) == 0


@pytest.mark.parametrize("change", [-1, 1, DTYPE.itemsize])
def test_bytes_of_another_length_are_refused(change: int) -> None:
    data = make_records(0, 3).tobytes()
    data = data[:change] if change < 0 else data + bytes(change)
    with pytest.raises(WireError, match="are not 3 records"):
        decode_rows(data, DTYPE, 3)


LARGEST_NS = np.iinfo(np.int64).max

SPOILT = {
    "hole": ("seq", 1, 5, "not consecutive"),
    "row twice": ("seq", 1, 1 << 40, "not consecutive"),
    "unknown mode": ("mode", 2, max(Mode) + 1, "unknown mode"),
    "unknown end": ("end", 0, max(End) + 1, "unknown mode or end"),
    "NaN observation": ("obs", 1, np.nan, "non-finite obs"),
    "infinite observation": ("obs", 1, np.inf, "non-finite obs"),
    "NaN action": ("applied", 2, np.nan, "non-finite applied"),
    "NaN lateness": ("period_error_us", 2, np.nan, "non-finite period_error_us"),
    "infinite work": ("work_us", 2, np.inf, "non-finite work_us"),
    "action beyond one": ("applied", 0, 1.01, "outside"),
    "action beyond minus one": ("applied", 0, -1.01, "outside"),
    "earlier than the row before": ("sense_ns", 2, 10_000_000, "backwards"),
    "later than the row after": ("sense_ns", 1, 10_000_000_000, "backwards"),
    "later by nearly all of time": ("sense_ns", 0, LARGEST_NS, "backwards"),
    "acted before it sensed": ("act_ns", 1, 0, "backwards"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_row_is_refused(case: str) -> None:
    field, index, value, reason = SPOILT[case]
    rows = make_records(0, 3)
    rows[field][index] = value
    if case == "later by nearly all of time":  # the differences of both times overflow to positive
        rows["sense_ns"][1:] = np.iinfo(np.int64).min
        rows["act_ns"] = LARGEST_NS
    with pytest.raises(WireError, match=reason):
        decode_rows(rows.tobytes(), DTYPE, 3)


def test_a_policy_may_have_asked_for_anything() -> None:
    rows = make_records(0, 2)
    rows["requested"] = np.nan
    assert len(decode_rows(rows.tobytes(), DTYPE, 2)) == 2


def episode(steps: int = 5, number: int = 3) -> Rows:
    """The rows of one whole episode: one more than it has steps."""
    rows = make_records(100, steps + 1)
    rows["episode"], rows["step"] = number, np.arange(steps + 1)
    rows["end"][-1] = End.TRUNCATED
    return rows


def mask(rows: Rows) -> list[bool]:
    return transition_mask(rows).tolist()


@pytest.mark.parametrize("end", [End.TERMINATED, End.TRUNCATED])
def test_an_episode_of_n_steps_has_n_transitions(end: End) -> None:
    rows = episode()
    rows["end"][-1] = end
    assert mask(rows) == [True] * 5


def test_a_lost_row_costs_the_two_transitions_it_belongs_to() -> None:
    assert mask(np.delete(episode(), 2)) == [True, False, True, True]


def test_a_row_with_stale_sensors_costs_the_two_transitions_it_belongs_to() -> None:
    rows = episode()
    rows["flags"][2] = Flag.STALE_SENSOR | Flag.LATE
    assert mask(rows) == [True, False, False, True, True]


def test_a_skipped_tick_costs_one_transition() -> None:
    rows = episode()
    rows["tick"][3:] += 1
    assert mask(rows) == [True, True, False, True, True]


def test_a_step_counted_twice_costs_one_transition() -> None:
    rows = episode()
    rows["step"][3:] -= 1
    assert mask(rows) == [True, True, False, True, True]


@pytest.mark.parametrize("flag", [Flag.LATE, Flag.EXPLORING, Flag.SWAPPED, Flag.BAD_POLICY])
def test_other_flags_cost_nothing(flag: Flag) -> None:
    rows = episode()
    rows["flags"] = flag
    assert mask(rows) == [True] * 5


def test_an_aborted_end_is_no_outcome_of_the_action_before_it() -> None:
    rows = episode()
    rows["end"][-1] = End.ABORTED
    assert mask(rows) == [True, True, True, True, False]


def test_episodes_do_not_run_into_each_other() -> None:
    first, second = episode(2, number=3), episode(2, number=4)
    second["tick"] += 3
    assert mask(np.concatenate([first, second])) == [True, True, False, True, True]


def test_nothing_follows_an_end_even_if_the_numbers_go_on() -> None:
    rows = episode()
    rows["end"][2] = End.TERMINATED
    assert mask(rows) == [True, True, False, True, True]


def test_steps_that_happen_to_continue_in_another_episode_do_not_join() -> None:
    rows = episode()
    rows["episode"][3:] += 1
    assert mask(rows) == [True, True, False, True, True]


@pytest.mark.parametrize("mode", sorted(set(Mode) - {Mode.RUN}))
def test_only_run_makes_transitions(mode: Mode) -> None:
    rows = episode()
    rows["mode"][1] = mode
    assert mask(rows) == [True, False, True, True, True]
