"""One check of the self-test and what came of it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Verdict(str, Enum):
    """What came of a check. A robot with a failed one must not run."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


class Finding(NamedTuple):
    """One check and what came of it."""

    verdict: Verdict
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.verdict.value:8}{self.what}: {self.detail}"


def judged(what: str, problem: str | None, detail: str) -> Finding:
    """A finding that fails if there is a ``problem``, and else says ``detail``."""
    return Finding(Verdict.FAILED if problem else Verdict.OK, what, problem or detail)
