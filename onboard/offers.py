"""Which held bundle to offer to the control process. Pure.

Control keeps nothing over a restart, so the newest good bundle is offered again whenever control
comes back with less. A version that control rolled back is never offered again; one it rejected,
not before control restarts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from protocol.messages import PolicyEvent


class Offers:
    """What control was told and what it said.

    Attributes:
        rolled_back: versions that proved bad in motion; to be kept over a restart of the agent.
    """

    def __init__(self, rolled_back: Iterable[int] = ()) -> None:
        self.rolled_back = set(rolled_back)
        self._judged: set[int] = set()
        self._waiting_for = 0
        self._ticks = 0

    def heard(self, ticks: int, events: Iterable[PolicyEvent]) -> None:
        """Control's state: its tick count, which falls when it restarts, and its events."""
        if ticks < self._ticks:
            self.forget()
        self._ticks = ticks
        for event in events:
            self._judged.add(event.version)
            if event.outcome == "rolled_back":
                self.rolled_back.add(event.version)

    def forget(self) -> None:
        """Control is away; when it is back it knows nothing."""
        self._judged.clear()
        self._waiting_for = self._ticks = 0

    def taken(self, version: int) -> None:
        """Control took this offer; an event will tell what became of it."""
        self._waiting_for = version

    def best(self, held: Sequence[int], active: int) -> int | None:
        """The version to offer now: the newest good one above ``active``, one at a time."""
        if self._waiting_for > active and self._waiting_for not in self._judged:
            return None
        settled = self.rolled_back | self._judged
        return max((v for v in held if v > active and v not in settled), default=None)
