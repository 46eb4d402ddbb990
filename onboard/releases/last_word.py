"""What a unit tells its server of its releases: the last thing that its journal says.

Nobody else tells the server of a unit that fetches by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from onboard.durable import read_text
from onboard.event_log import EventLog
from onboard.releases.journal import Entry, Journal, decode_journal
from protocol.errors import StoreError
from protocol.messages import Release

AGAIN_S = 10.0
"""A journal that does not seem to have changed is read again after this long."""
_REASON_MAX_CHARS = 400
_SMALL_MAX = 2**32 - 1
_Stamp = tuple[int, int, int]
Word = Callable[[float], Release | UnsetType]
"""What there is to say of releases at a monotonic time."""


def unspoken(now_s: float) -> UnsetType:
    """What a machine without releases says of them."""
    return UNSET


class LastWord:
    """Of the journal in a file; used by one thread."""

    def __init__(self, journal: Path, log: EventLog) -> None:
        self._path, self._log = journal, log
        self._word: Release | UnsetType = UNSET
        self._stamp: _Stamp | None = None
        self._due_s = float("-inf")

    def __call__(self, now_s: float) -> Release | UnsetType:
        """UNSET where there is no journal, or none that can be read. ``now_s`` is monotonic."""
        stamp = self._present_stamp()
        if stamp != self._stamp or now_s >= self._due_s:
            self._stamp, self._due_s = stamp, now_s + AGAIN_S
            self._word = self._read()
        return self._word

    def _present_stamp(self) -> _Stamp | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> Release | UnsetType:
        """A journal in doubt says nothing: going by the links is for who switches them."""
        word: Release | UnsetType = UNSET
        trouble = ""
        try:
            if line := read_text(self._path):
                word = last_word(decode_journal(line))
        except StoreError as error:
            trouble = str(error)
        self._log.state("release_journal", trouble)
        return word


def last_word(journal: Journal) -> Release:
    """What ``journal`` says last. Raises StoreError if that is not well formed."""
    entry = _telling(journal)
    try:
        fields = {
            "running": journal.current,
            "tried": entry.release,
            "verdict": entry.event,
            "reason": _encodable(entry.reason)[:_REASON_MAX_CHARS],
            "at_s": round(min(max(entry.at_s, 0), _SMALL_MAX)),
        }
        return msgspec.convert(fields, Release)
    except (msgspec.ValidationError, AttributeError, TypeError, ValueError) as error:
        raise StoreError(f"the journal of releases says what nobody says: {error}") from error


def _encodable(text: str) -> str:
    """What a program printed need not be UTF-8, and half a character ends a message."""
    return text.encode(errors="replace").decode()


def _telling(journal: Journal) -> Entry:
    """The last entry, or the one before: that a release runs again says less than why it has to."""
    if not journal.log:
        return Entry(0, journal.phase.value, journal.current)
    last = journal.log[-1]
    before = journal.log[-2] if len(journal.log) > 1 else last
    again = last.event == "proven" and before.event == "taken back"
    return before if again else last
