"""Whose turn it is: the facts that are asked of all motors, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from onboard.bus import Fact


class Rotation:
    """All ``facts`` in turn, for ever."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._facts, self._at = facts, -1

    def next(self) -> Fact:
        """What to ask now."""
        self._at = (self._at + 1) % len(self._facts)
        return self._facts[self._at]
