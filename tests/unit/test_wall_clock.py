"""By which clock do signatures expire, and when is it not believed?"""

from __future__ import annotations

import ctypes

import pytest

from onboard import wall_clock
from onboard.wall_clock import WallClock, kernel_synchronised
from protocol.errors import BundleError

NOW_S = 1_900_000_000


def clock(synchronised: bool = True) -> WallClock:
    return WallClock(lambda: synchronised, lambda: NOW_S + 0.9)


def test_a_synchronised_clock_is_believed():
    assert clock().now_s(seen_s=0) == NOW_S


def test_a_clock_that_nothing_keeps_right_is_not():
    with pytest.raises(BundleError, match="not synchronised"):
        clock(synchronised=False).now_s(seen_s=0)


def test_a_clock_behind_the_last_update_is_not_believed_whatever_the_kernel_says():
    with pytest.raises(BundleError, match="301 s behind"):
        clock().now_s(seen_s=NOW_S + 301)


def test_a_small_correction_backwards_is_no_matter():
    assert clock().now_s(seen_s=NOW_S + 300) == NOW_S


@pytest.mark.parametrize(("state", "right"), [(0, True), (1, True), (5, False), (-1, False)])
def test_the_kernel_is_asked(monkeypatch, state, right):
    """0 is TIME_OK, 1 announces a leap second, 5 is TIME_ERROR, -1 a call that was forbidden."""

    class Libc:
        def __init__(self, name: None) -> None:
            pass

        @staticmethod
        def adjtimex(timex: object) -> int:
            return state

    monkeypatch.setattr(wall_clock.ctypes, "CDLL", Libc)
    assert kernel_synchronised() is right


def test_asking_changes_nothing_and_needs_no_privilege():
    timex = ctypes.create_string_buffer(256)
    assert ctypes.CDLL(None).adjtimex(timex) == ctypes.CDLL(None).adjtimex(timex)
    assert isinstance(kernel_synchronised(), bool)


def test_as_set_means_that_nobody_is_asked(monkeypatch):
    monkeypatch.setattr(wall_clock, "kernel_synchronised", lambda: False)
    assert wall_clock.wall_clock("as-set").now_s(0) > 0
    with pytest.raises(BundleError):
        wall_clock.wall_clock("synchronised").now_s(0)
