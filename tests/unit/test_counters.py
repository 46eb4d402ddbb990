"""Is a lost slot near a swap counted once, and one that is not near, never?"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from onboard.counters import NEAR_SWAP_TICKS, Counters
from onboard.schedule import Wake


def counted(ticks: int, lost: Mapping[int, int], swaps: frozenset[int]) -> Counters:
    """``lost`` slots before a tick, by number of the executed tick; swaps likewise."""
    counters, slot = Counters(), 0
    for number in range(ticks):
        skipped = lost.get(number, 0)
        slot += 1 + skipped
        counters.tick(Wake(slot, slot_ns=0, started_ns=0, skipped=skipped))
        if number in swaps:
            counters.swap(slot)
    return counters


@pytest.mark.parametrize(
    ("lost_at", "near"),
    [(94, 0), (96, 1), (100, 1), (101, 1), (105, 1), (106, 0)],
)
def test_near_is_within_a_few_ticks_before_or_after(lost_at: int, near: int) -> None:
    counters = counted(200, {lost_at: 1}, frozenset({100}))
    assert (counters.missed_ticks, counters.missed_ticks_near_swaps) == (1, near)


@pytest.mark.parametrize("apart", range(1, 2 * NEAR_SWAP_TICKS + 2))
@pytest.mark.parametrize("lost_at", [48, 50, 51, 53, 55])
def test_a_slot_near_several_swaps_is_counted_once(apart: int, lost_at: int) -> None:
    swaps = frozenset({50, 50 + apart, 50 + 2 * apart})
    counters = counted(100, {lost_at: 3}, swaps)
    assert counters.missed_ticks == counters.missed_ticks_near_swaps == 3


def test_swaps_at_every_tick_blame_no_more_than_was_lost() -> None:
    counters = counted(300, dict.fromkeys(range(0, 300, 7), 2), frozenset(range(300)))
    assert counters.missed_ticks_near_swaps == counters.missed_ticks
