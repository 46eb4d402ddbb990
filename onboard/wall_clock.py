"""The time of day, for signatures that expire: believed only while something keeps it right.

A clock that is behind takes expired signatures for fresh, and a machine without a battery for its
clock starts far behind. Source: FLEET.md § 1, gap 4; adjtimex(2).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Literal

from protocol.errors import BundleError

Trust = Literal["synchronised", "as-set"]
"""Believe the clock while the kernel says that it is synchronised, or as somebody set it."""

_TIME_ERROR = 5
_TIMEX_BYTES = 256
_BEHIND_MAX_S = 300


class WallClock:
    """Unix time, or a reason not to go by it."""

    def __init__(
        self, synchronised: Callable[[], bool], time_s: Callable[[], float] = time.time
    ) -> None:
        self._synchronised = synchronised
        self._time_s = time_s

    def now_s(self, seen_s: int) -> int:
        """Now, which is not before ``seen_s``.

        Raises:
            BundleError: the clock is not synchronised, or behind what it has shown before.
        """
        if not self._synchronised():
            raise BundleError(
                "update refused: this machine's clock is not synchronised, so that expired "
                "signatures would pass; start chrony, or give --clock as-set if someone sets it"
            )
        now_s = int(self._time_s())
        if now_s < seen_s - _BEHIND_MAX_S:
            raise BundleError(
                f"update refused: the clock is {seen_s - now_s} s behind the time of the last "
                "one; correct it"
            )
        return now_s


def wall_clock(trust: Trust) -> WallClock:
    """The machine's clock, trusted as told."""
    return WallClock(kernel_synchronised if trust == "synchronised" else lambda: True)


def kernel_synchronised() -> bool:
    """Does a time service keep the clock right? False also where one may not ask."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # zeros: change nothing
    state = int(ctypes.CDLL(None).adjtimex(timex))
    return 0 <= state < _TIME_ERROR
