"""What happens in a fleet, as its log has it, and what units say of themselves made into that.

Pure. A unit that fetches its release by itself is heard by ``serve`` alone: its words, with the
time at which they were heard, are entered afterwards, each once, whichever run they come from.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from offboard.release_changes import Heard

REPORTED = "reported "
"""How ``what`` begins where a unit said it of itself; its journal's word follows."""
THE_UNIT = "itself"
"""Whose hand it was then."""
_at_s = attrgetter("at_s")


class Event(NamedTuple):
    """One line of the log; ``unit`` and ``release`` are empty for what concerns the rollout.

    ``rollout`` is 0 for what belongs to none.
    """

    at_s: float
    operator: str
    rollout: int
    unit: str
    release: str
    what: str
    reason: str


def reported(heard: Iterable[Heard]) -> list[Event]:
    """The events that units told of."""
    return [
        Event(
            at_s=line.at_s,
            operator=THE_UNIT,
            rollout=0,
            unit=line.robot,
            release=line.said.tried,
            what=f"{REPORTED}{line.said.verdict}",
            reason=_reason(line),
        )
        for line in heard
    ]


def unentered(entered: Iterable[Event], offered: Iterable[Event]) -> list[Event]:
    """Which of ``offered`` are news beside those ``entered``, both as :func:`reported` makes them.

    Not news is what was entered, and what a unit had said last when it was heard to say it: a new
    run of the server hears of everybody anew.
    """
    known: dict[str, list[Event]] = {}
    for event in sorted(entered, key=_at_s):
        known.setdefault(event.unit, []).append(event)
    there = {_words(event) for events in known.values() for event in events}
    news = []
    for event in sorted(offered, key=_at_s):
        said = known.setdefault(event.unit, [])
        place = bisect_right(said, event.at_s, key=_at_s)
        if _words(event) in there or (place and _words(said[place - 1])[1:] == _words(event)[1:]):
            continue
        said.insert(place, event)
        news.append(event)
    return news


def last_said(entered: Sequence[Event]) -> dict[str, Event]:
    """What each unit, by name, was last heard to say of itself."""
    said = {event.unit: event for event in sorted(entered, key=_at_s)}
    return dict(sorted(said.items()))


def _words(event: Event) -> tuple[float, str, str, str, str]:
    return event.at_s, event.unit, event.release, event.what, event.reason


def _reason(line: Heard) -> str:
    said = line.said
    parts = [f"runs {said.running}"] if said.running != said.tried else []
    parts += [said.reason] if said.reason else []
    if said.at_s:
        at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(said.at_s))
        parts.append(f"at {at} by its clock")
    if line.unwritten:
        parts.append(f"{line.unwritten} changes before it were not written down")
    return "; ".join(parts)
