"""Whose turn it is: the facts that are asked one at a time, motor by motor."""

from __future__ import annotations

from collections.abc import Sequence

from onboard.bus import Fact


class Rotation:
    """All ``facts`` of the first of ``motors``, then of the next, for ever."""

    def __init__(self, motors: int, facts: Sequence[Fact]) -> None:
        self._motors, self._facts, self._at = motors, facts, -1

    def next(self) -> tuple[int, Fact]:
        """Number of a motor, and what to ask about it."""
        self._at = (self._at + 1) % (self._motors * len(self._facts))
        motor, index = divmod(self._at, len(self._facts))
        return motor, self._facts[index]
