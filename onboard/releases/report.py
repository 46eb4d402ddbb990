"""What an install tells whoever asked for it: one JSON object, and an exit status."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

Verdict = Literal["installed", "already", "rolled_back", "refused", "unsafe", "busy", "unproven"]

EXIT_STATUS: dict[Verdict, int] = {
    "installed": 0,
    "already": 0,
    "rolled_back": 3,
    "refused": 4,
    "unsafe": 5,
    "busy": 6,
    "unproven": 7,
}
"""Of ``wombet-onboard release install``."""


class Report(Struct, frozen=True):
    """What came of it.

    Attributes:
        unit: who reports.
        release_before: in force when it began.
        release_after: in force now.
        verdict: installed: it runs and is proven. already: it ran before. rolled_back: it was to
            blame, the one before is back. unproven: it runs, but something that is no release's
            fault keeps it from being proven, or powered motors keep it from being taken back; it is
            judged further. Nothing changed: refused;
            unsafe, because motors are powered; busy, because somebody else is at it.
        reason: why, in words.
    """

    unit: str
    release_before: str
    release_after: str
    verdict: Verdict
    reason: str = ""

    def json(self) -> str:
        """One line."""
        return msgspec.json.encode(self).decode()
