"""Which of the things that robots say of their releases are news, and how many may be. Pure.

A robot says every second what it runs and what became of what it tried; only changes are written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

from offboard.key_table import ROBOT_NAME
from protocol.messages import Count, Release

CHANGES_PER_HOUR = 20
"""Of one robot. A deploy is two or three; whoever has a stolen key could say any number."""
LINES_MAX = 2_000
"""Of one robot, for the life of a run directory: 4 MB at the most."""
_HOUR_S = 3600.0


class Heard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line.

    Attributes:
        at_s: Unix time at which this server first heard it.
        robot: who said it, by its key.
        said: what it said.
        unwritten: changes of this robot between its line before and this one.
    """

    at_s: Annotated[float, Meta(ge=0, le=2**32)]
    robot: Annotated[str, Meta(pattern=ROBOT_NAME)]
    said: Release
    unwritten: Count = 0


@dataclass
class _Robot:
    newest: Release | None = None
    since_s: float = 0.0
    written: Release | None = None
    lines: int = 0
    hour_began_s: float = 0.0
    hour_lines: int = 0
    unwritten: int = 0

    def may_write(self, now_s: float) -> bool:
        if not 0.0 <= now_s - self.hour_began_s < _HOUR_S:
            self.hour_began_s, self.hour_lines = now_s, 0
        return self.hour_lines < CHANGES_PER_HOUR and self.lines < LINES_MAX


class Changes:
    """Which of the things that robots say every second are to be written down. Pure."""

    def __init__(self, lines: Iterable[Heard] = ()) -> None:
        """``lines`` were written before, oldest first."""
        self._robots: dict[str, _Robot] = {}
        for line in lines:
            known = self._robots.setdefault(line.robot, _Robot())
            known.written, known.lines = line.said, known.lines + 1

    def heard(self, robot: str, said: Release, now_s: float) -> Heard | None:
        """The line to write, if there is one; ``now_s`` is Unix time.

        What may not be written now is counted, and written later if it still holds then.
        """
        known = self._robots.setdefault(robot, _Robot())
        changed = said != known.newest
        if changed:
            known.newest, known.since_s = said, now_s
        if said == known.written:  # after a start, or back again before more could be written
            known.unwritten += changed and known.unwritten > 0
            return None
        if not known.may_write(now_s):
            known.unwritten += changed
            return None
        between = known.unwritten - (not changed)
        known.written, known.unwritten = said, 0
        known.lines, known.hour_lines = known.lines + 1, known.hour_lines + 1
        return Heard(at_s=known.since_s, robot=robot, said=said, unwritten=between)

    def unwritten(self, robot: str) -> int:
        """Changes of ``robot`` since its last line that were not written."""
        known = self._robots.get(robot)
        return 0 if known is None else known.unwritten
