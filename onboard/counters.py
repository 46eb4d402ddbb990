"""What a loop counts about its ticks, and which lost ones lie near a policy swap."""

from __future__ import annotations

from collections import deque

from onboard.schedule import Wake

NEAR_SWAP_TICKS = 5


class Counters:
    """Cumulative since the process started.

    Attributes:
        ticks: executed.
        missed_ticks: slots of the schedule that were lost.
        missed_ticks_near_swaps: those within ``NEAR_SWAP_TICKS`` before or after a swap, each once
            however many swaps are near.
    """

    def __init__(self) -> None:
        self.ticks = self.missed_ticks = self.missed_ticks_near_swaps = 0
        self._recent: deque[int] = deque(maxlen=NEAR_SWAP_TICKS)  # lost and not yet counted
        self._swap_tick = -NEAR_SWAP_TICKS - 1

    def tick(self, wake: Wake) -> None:
        """Count one tick and what was lost just before it."""
        self.ticks += 1
        self.missed_ticks += wake.skipped
        if wake.tick - wake.skipped - self._swap_tick <= NEAR_SWAP_TICKS:
            self.missed_ticks_near_swaps += wake.skipped
            self._recent.append(0)
        else:
            self._recent.append(wake.skipped)

    def swap(self, tick: int) -> None:
        """A policy took over at ``tick``."""
        self._swap_tick = tick
        self.missed_ticks_near_swaps += sum(self._recent)
        self._recent.clear()
