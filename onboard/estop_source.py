"""What a person hits to stop the robot: one port, and how the command line names its kinds."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol


class Signal(Enum):
    """What a source said last."""

    QUIET = auto()
    PRESSED = auto()
    LOST = auto()
    """It cannot be read any more, which stops the robot as a press does."""


class EstopSource(Protocol):
    """A button, key or line.

    Attributes:
        name: for the operator.
        held: pressed at this moment, as far as the device can tell; no CLEAR is taken then.
    """

    name: str
    held: bool

    def open(self) -> None:
        """Take the device. Raises ConfigError: it is not there, or not such a device."""

    def fileno(self) -> int:
        """Descriptor to wait on."""

    def take(self) -> Signal:
        """Take what made the descriptor readable; never raises, never waits."""

    def close(self) -> None:
        """Give the device back; never raises."""
