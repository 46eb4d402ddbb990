"""What a unit says of its releases, read without believing that it is well formed."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from offboard.fleet.assignments import RELEASE_ID
from offboard.fleet.rollout import Verdict

T = TypeVar("T")
_TEXT_MAX = 400
_Ran = Annotated[str, Meta(pattern=rf"^({RELEASE_ID})?\Z")]
"""A release's id or nothing: what a unit names may be assigned to it again."""


class Told(Struct, frozen=True):
    """The last line of ``wombet-onboard release install``."""

    verdict: Literal["installed", "already", "rolled_back", "refused", "unsafe", "busy", "unproven"]
    release_before: _Ran = ""
    release_after: _Ran = ""
    reason: str = ""


class Entry(Struct, frozen=True):
    """A line of the unit's own journal."""

    event: str
    release: str
    reason: str = ""


class UnitStatus(Struct, frozen=True):
    """What we read of ``wombet-onboard release status --json``."""

    current: _Ran
    healthy: bool
    pending: str = ""
    previous: _Ran = ""
    golden: str = ""
    counter: int = 0
    mode: str = ""
    log: list[Entry] = []

    def took_back(self, release: str) -> Entry | None:
        """The last that happened to ``release`` there, if it is that."""
        entries = [entry for entry in self.log if entry.release == release]
        last = entries[-1] if entries and self.current != release else None
        return last if last is not None and last.event == "taken back" else None


class Answer(Struct, frozen=True):
    """What came of asking a unit to take a release; ``before`` is empty if it is not known."""

    verdict: Verdict
    reason: str = ""
    before: str = ""
    status: UnitStatus | None = None


AWAY = Answer("away", "not reached")


class Visit(Struct, frozen=True):
    """What a visit brought back: outputs of the commands, and why the release was not copied."""

    copied: str = ""
    installed: str = ""
    trouble: str = ""
    before: str = ""
    after: str = ""


def judged(visit: Visit, release: str) -> Answer:
    """The answer of a unit that was visited to run ``release``.

    A unit that says ``installed`` and is not well a moment later is not believed. One that took the
    release back, perhaps after having fetched it by itself, refuses it, or says that the one before
    is not proven again yet: it has taken it back.
    """
    before, after = _read(visit.before, UnitStatus), _read(visit.after, UnitStatus)
    ran = "" if before is None else before.current
    if visit.copied:
        return Answer("refused", _short(visit.copied), ran, after)
    told = _read(visit.installed.strip().rpartition("\n")[2], Told)
    if told is None and visit.installed + visit.trouble:
        return Answer("unproven", _short(visit.trouble or visit.installed), ran, after)
    if after is None:
        return Answer("unproven", "it does not say what runs; is the runtime on it?", ran)
    return _weighed(told or Told("already"), after, ran, release)


def _weighed(told: Told, after: UnitStatus, ran: str, release: str) -> Answer:
    """What the unit says beside what it is.

    One that fetches by itself may be ahead of the copy that it was brought, and refuse that.
    """
    ran = told.release_before or ran
    if ran == release == after.current:
        ran = after.previous  # it had fetched the release itself
    if told.verdict in ("installed", "already") and not _runs(after, release):
        state = "well" if after.healthy else "not well"
        return Answer("unproven", f"{after.current} runs, {state}", ran, after)
    if told.verdict in ("refused", "busy") and _runs(after, release):
        return Answer("already", _short(told.reason), ran, after)
    if told.verdict in ("unproven", "refused") and (entry := after.took_back(release)):
        return Answer("rolled_back", _short(entry.reason or told.reason), ran, after)
    return Answer(told.verdict, _short(told.reason), ran, after)


def _runs(status: UnitStatus, release: str) -> bool:
    return status.healthy and status.current == release


def _read(text: str, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _short(text: str) -> str:
    return text.strip()[-_TEXT_MAX:]
