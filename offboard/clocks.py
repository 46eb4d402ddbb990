"""The robots' clocks as their records show them."""

from __future__ import annotations

from offboard.losses import GENERATION_SHIFT
from protocol.step_record import Rows


class Clocks:
    """Watches each robot's time from batch to batch.

    A monotonic clock does not run backwards while the ring lives, as both end with the power. If it
    does, times of that robot mean nothing across the step: that is counted and not refused, for the
    numbers and the ticks of the records still hold.

    Attributes:
        steps_back: how often a clock ran backwards.
    """

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, int]] = {}
        self.steps_back = 0

    def saw(self, robot: str, rows: Rows) -> None:
        """Take note of (N,) rows, N ≥ 1; older ones that came again say nothing."""
        first, last = int(rows["seq"][0]), int(rows["seq"][-1])
        seq, sense_ns = self._newest.get(robot, (-1, 0))
        if last <= seq:
            return
        if first > seq and first >> GENERATION_SHIFT == seq >> GENERATION_SHIFT:
            self.steps_back += int(rows["sense_ns"][0]) < sense_ns
        self._newest[robot] = last, int(rows["sense_ns"][-1])
