"""Which held bundle to offer to the control process. Pure.

Control keeps nothing over a restart, so the newest good bundle is offered again whenever control
comes back with less. A version that control rolled back is never offered again; one it rejected,
not before control restarts. A robot pinned to a version is offered no other.
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
        self._committed: set[int] = set()
        self._waiting_for = 0
        self._ticks = 0

    def heard(self, ticks: int, events: Iterable[PolicyEvent]) -> None:
        """Control's state: its tick count, which falls when it restarts, and its events."""
        if ticks < self._ticks:
            self.forget()
        self._ticks = ticks
        for event in events:
            self._judged.add(event.version)
            if event.outcome == "committed":
                self._committed.add(event.version)
            elif event.outcome == "rolled_back":
                self.rolled_back.add(event.version)

    def forget(self) -> None:
        """Control is away; when it is back it knows nothing."""
        self._judged.clear()
        self._committed.clear()
        self._waiting_for = self._ticks = 0

    def taken(self, version: int) -> None:
        """Control took this offer; an event will tell what became of it."""
        self._waiting_for = version

    def best(self, held: Sequence[int], active: int, pinned: int = 0) -> int | None:
        """The version to offer now, one at a time: the newest good one above ``active``.

        Pinned to a version, that one or none; 0 is no pin.
        """
        if self._waiting_for > active and self._waiting_for not in self._judged:
            return None
        if pinned:
            return pinned if pinned != active and pinned in self._good(held) else None
        return max((version for version in self._good(held) if version > active), default=None)

    def held_back(self, held: Sequence[int], pinned: int) -> str:
        """Which newer version waits because of a pin, and that it does; empty if none."""
        newest = max(self._good(held), default=0)
        if not 0 < pinned < newest:
            return ""
        return f"policy {newest} is held back: this robot is pinned to policy {pinned}"

    def _good(self, held: Sequence[int]) -> set[int]:
        """Not yet tried, or proven: the operator may have gone back from a committed one."""
        return set(held) - self.rolled_back - (self._judged - self._committed)
