"""The steps of an install, so that a test can cut the power after each of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto


class Step(Enum):
    """What has just happened. Up to STOPPED the robot runs as before."""

    LISTED = auto()
    """Signed lists and the assignment are accepted; the version floor is raised."""
    FETCHED = auto()
    """The archive lies beside, whole and as it was signed."""
    UNPACKED = auto()
    """Its files lie beside."""
    PLACED = auto()
    """They have their final name, durably."""
    STOPPED = auto()
    """Control and agent have ended; the motors have no torque."""
    NOTED = auto()
    """The journal says what shall be in force."""
    SWITCHED = auto()
    """The links say the same."""
    STARTED = auto()
    """Control and agent have been started."""
    JUDGED = auto()
    """It is known whether the release may stay; the journal does not say so yet."""
    SETTLED = auto()
    """The journal says so."""


Watch = Callable[[Step], None]
"""Called after each step."""


def unwatched(step: Step) -> None:
    """Nobody watches."""
