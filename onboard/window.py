"""Which entry to send next: go-back-N over a link that may vanish. Pure; time and chance come in.

::

    silent ──hello sent──▶ greeting ──ack──▶ streaming ──no ack in time, or refused──▶ silent

Every trouble ends in one remedy: greet again after a back-off, learn from the answer what the
server has, go on from there. Nothing is sent here; :mod:`onboard.uplink` does that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WINDOW_ENTRIES = 128


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer, and between greetings; jitter is ±50 %."""

    answer_s: float = 3.0
    retry_min_s: float = 0.2
    retry_max_s: float = 5.0


class Window:
    """The sender's half of the delivery contract for one epoch.

    Attributes:
        streaming: the server has answered a greeting and nothing has gone wrong since.
        acknowledged: highest number the server said is durable.
    """

    def __init__(
        self,
        chance: Callable[[], float],
        size: int = WINDOW_ENTRIES,
        patience: Patience = Patience(),
    ) -> None:
        """``chance`` returns uniform numbers in [0, 1)."""
        self._chance = chance
        self._size = size
        self._patience = patience
        self.streaming = False
        self.acknowledged = 0
        self._next = 1
        self._went_back_to = -1
        self._failures = 0
        self._greet_at_s = float("-inf")
        self._answer_by_s = float("inf")

    def greeting_due(self, now_s: float) -> bool:
        """Should a Hello be sent now? Notices an answer that is overdue."""
        if self.streaming and self._in_flight and now_s >= self._answer_by_s:
            self.interrupted(now_s)
        return not self.streaming and now_s >= self._greet_at_s

    def greeted(self, now_s: float) -> None:
        """A Hello went out; the next one only after a pause."""
        self._greet_at_s = now_s + max(self._pause_s(), self._patience.answer_s)
        self._failures += 1

    def interrupted(self, now_s: float) -> None:
        """The server is silent or refused: greet again after a pause."""
        self.streaming = False
        self._greet_at_s = now_s + self._pause_s()
        self._failures += 1

    def sendable(self, newest: int) -> range:
        """Numbers that may go out now, in order."""
        if not self.streaming:
            return range(0)
        return range(self._next, min(newest, self.acknowledged + self._size) + 1)

    def sent(self, now_s: float, seq: int) -> None:
        """Entry ``seq`` went out."""
        if not self._in_flight:
            self._answer_by_s = now_s + self._patience.answer_s
        self._next = seq + 1

    def answered(self, now_s: float, last: int, resend: bool) -> None:
        """The server has everything up to ``last``; ``resend``: what came after was not taken."""
        if last > self.acknowledged:
            self._failures = 0  # a greeting alone proves nothing: its disk may be full
        if not self.streaming:
            self.streaming = True
            self._restart_from(last)
        elif last < self.acknowledged:
            self.interrupted(now_s)  # it forgot: its store is an older copy
            return
        elif resend and last != self._went_back_to:
            self._restart_from(last)
            self._went_back_to = last
        elif last > self.acknowledged:
            self.acknowledged = last
            self._next = max(self._next, last + 1)
        else:
            return
        self._answer_by_s = now_s + self._patience.answer_s

    def go_back(self, last: int) -> None:
        """Send again from ``last + 1``."""
        self._next = min(self._next, last + 1)

    @property
    def _in_flight(self) -> int:
        return self._next - 1 - self.acknowledged

    def _restart_from(self, last: int) -> None:
        self.acknowledged = last
        self._next = last + 1
        self._went_back_to = -1

    def _pause_s(self) -> float:
        growing = self._patience.retry_min_s * 2.0 ** min(self._failures, 16)
        return min(growing, self._patience.retry_max_s) * (0.5 + self._chance())
