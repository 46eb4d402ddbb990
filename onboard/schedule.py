"""When ticks happen: an absolute schedule on the monotonic clock.

A slot that has passed is skipped and counted, never made up for: two commands in a row would be a
jerk. After a skip the schedule goes on from the slot it is in, so lateness cannot accumulate.
Source: ros2_control's overrun policy; openpilot issue 38755 shows what happens without re-basing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Wake(NamedTuple):
    """One tick of the schedule.

    Attributes:
        tick: number of the slot, counting skipped ones.
        slot_ns: when it should have started.
        started_ns: when it did.
        skipped: slots lost just before it.
    """

    tick: int
    slot_ns: int
    started_ns: int
    skipped: int

    @property
    def lateness_ns(self) -> int:
        """How late the tick started, ≥ 0."""
        return self.started_ns - self.slot_ns


class Schedule:
    """Hands out slots of ``period_ns``; ``clock_ns`` must be monotonic, ``sleep`` takes seconds.

    A sleeper wakes a little late, and then may have to wait for the interpreter's lock. So it wakes
    ``early_ns`` before its slot, a tenth of a period at most, and looks at the clock until then.
    """

    def __init__(
        self,
        period_ns: int,
        clock_ns: Callable[[], int],
        sleep: Callable[[float], None],
        early_ns: int = 0,
    ) -> None:
        self.period_ns = period_ns
        self._clock_ns, self._sleep = clock_ns, sleep
        self._early_ns = min(early_ns, period_ns // 10)
        self._tick = 0
        self._next_ns: int | None = None

    def rebase(self) -> None:
        """Start anew one period from now, counting nothing; for pauses made on purpose."""
        self._next_ns = None

    def wait(self) -> Wake:
        """Sleep until the next slot that has not passed and return it.

        A slot has passed once its successor has begun, so no tick starts later than one period.
        """
        now_ns = self._clock_ns()
        if self._next_ns is None:
            self._next_ns = now_ns + self.period_ns
        while now_ns < self._next_ns:
            if (left_ns := self._next_ns - self._early_ns - now_ns) > 0:
                self._sleep(left_ns * 1e-9)
            now_ns = self._clock_ns()
        skipped = (now_ns - self._next_ns) // self.period_ns
        slot_ns = self._next_ns + skipped * self.period_ns
        self._next_ns = slot_ns + self.period_ns
        self._tick += 1 + skipped
        return Wake(self._tick, slot_ns, now_ns, skipped)
