"""Are slots kept, and lost ones skipped and counted instead of made up for?"""

from __future__ import annotations

import pytest

from onboard.schedule import Schedule, Wake

MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.ns = 7 * MS
        self.oversleep_ns = 0

    def now(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9) + self.oversleep_ns


def started() -> tuple[Schedule, Clock]:
    clock = Clock()
    schedule = Schedule(20 * MS, clock.now, clock.sleep)
    schedule.wait()
    return schedule, clock


def test_slots_lie_on_a_grid_whatever_the_work_takes() -> None:
    schedule, clock = started()
    first_ns = clock.ns
    for tick in range(2, 6):
        clock.ns += tick * MS
        wake = schedule.wait()
        assert wake == Wake(tick, first_ns + (tick - 1) * 20 * MS, clock.ns, 0)
        assert wake.lateness_ns == 0


def test_oversleeping_shows_as_lateness_and_does_not_accumulate() -> None:
    schedule, clock = started()
    clock.oversleep_ns = 3 * MS
    assert [schedule.wait().lateness_ns for _ in range(3)] == [3 * MS] * 3


def test_a_short_overrun_makes_the_next_tick_late_but_loses_none() -> None:
    schedule, clock = started()
    clock.ns += 25 * MS
    wake = schedule.wait()
    assert (wake.skipped, wake.lateness_ns) == (0, 5 * MS)
    assert schedule.wait().lateness_ns == 0


def test_passed_slots_are_skipped_and_counted() -> None:
    schedule, clock = started()
    clock.ns += 65 * MS
    wake = schedule.wait()
    assert (wake.tick, wake.skipped, wake.lateness_ns) == (4, 2, 5 * MS)
    assert schedule.wait().tick == 5


def test_oversleeping_past_a_slot_skips_it() -> None:
    schedule, clock = started()
    clock.oversleep_ns = 31 * MS
    wake = schedule.wait()
    assert (wake.tick, wake.skipped, wake.lateness_ns) == (3, 1, 11 * MS)


def test_a_pause_on_purpose_counts_nothing() -> None:
    schedule, clock = started()
    clock.ns += 500 * MS
    schedule.rebase()
    before_ns = clock.ns
    assert schedule.wait() == Wake(2, before_ns + 20 * MS, before_ns + 20 * MS, 0)


class Looked(Clock):
    """Time passes when somebody looks at it; who sleeps wakes 60 µs late."""

    def __init__(self) -> None:
        super().__init__()
        self.oversleep_ns = 60_000
        self.slept_s: list[float] = []

    def now(self) -> int:
        self.ns += 1_000
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        super().sleep(seconds)


@pytest.mark.parametrize(("early_ns", "late_us"), [(0, 61), (40_000, 21), (200_000, 1)])
def test_a_timer_that_is_late_by_less_than_it_is_early_makes_no_tick_late(
    early_ns: int, late_us: int
) -> None:
    clock = Looked()
    schedule = Schedule(20 * MS, clock.now, clock.sleep, early_ns)
    for _ in range(3):
        assert 0 <= schedule.wait().lateness_ns <= late_us * 1_000
    assert len(clock.slept_s) == 3
    assert clock.slept_s[-1] == pytest.approx(0.02 - early_ns * 1e-9, abs=7e-5)


def test_no_more_than_a_tenth_of_a_period_is_watched_away() -> None:
    clock = Looked()
    Schedule(MS, clock.now, clock.sleep, 500_000).wait()
    assert clock.slept_s == [pytest.approx(0.9e-3)]


def test_a_slot_that_is_nearer_than_that_is_not_slept_for() -> None:
    clock = Looked()
    schedule = Schedule(20 * MS, clock.now, clock.sleep, 200_000)
    schedule.wait()
    clock.ns += 20 * MS - 100_000
    assert 0 <= schedule.wait().lateness_ns <= 1_000
    assert len(clock.slept_s) == 1
