"""Does the control loop still tick? Pure.

Only time in which the observer itself ran counts: where the machine was suspended, or starved both,
nobody has hung.
"""

from __future__ import annotations


class Heartbeat:
    """Watches a counter that must move.

    Args:
        limit_s: how long it may stand still.
        step_s: the longest pause between two looks that is believed.
    """

    def __init__(self, limit_s: float, step_s: float) -> None:
        self._limit_s, self._step_s = limit_s, step_s
        self._beats = 0
        self._seen_s = 0.0
        self._still_s = 0.0

    def stopped(self, now_s: float, beats: int) -> bool:
        """Look; True once it has stood still for too long. It must have moved once before."""
        elapsed_s = min(now_s - self._seen_s, self._step_s)
        self._seen_s = now_s
        self._still_s = self._still_s + elapsed_s if beats == self._beats else 0.0
        self._beats = beats
        return beats > 0 and self._still_s > self._limit_s
