"""The steps of a swap, so that a test can cut the power after each of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto


class Step(Enum):
    """What has just happened to a candidate. A restart runs it again only from KEPT on."""

    TAKEN = auto()
    """The offer waits for the stager."""
    READ = auto()
    """Files have the sizes and digests of a manifest that is for this robot and newer."""
    CHECKED = auto()
    """Graph and weights keep their rules."""
    BUILT = auto()
    """The backend has an engine of the graph."""
    PROVEN = auto()
    """Its slot gave the trainer's answers, fast enough."""
    DRIVES = auto()
    """The loop has flipped to it."""
    JUDGED = auto()
    """Probation is over and it may stay; nobody but this process knows."""
    KEEPING = auto()
    """The ledger is about to be written."""
    KEPT = auto()
    """The ledger names it, durably."""


Watch = Callable[[Step], None]
"""Called after each step, in the thread that made it."""


def unwatched(step: Step) -> None:
    """Nobody watches."""
