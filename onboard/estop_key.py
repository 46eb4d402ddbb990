"""An emergency stop on standard input: any key of the terminal, or the end of a pipe.

A parent that holds the other end of the pipe is a dead man's switch: when it dies, the robot stops.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from contextlib import suppress
from typing import Any

from onboard.estop_source import Signal
from protocol.errors import ConfigError

_BYTES_AT_ONCE = 1024


class StandardInput:
    """An :class:`~onboard.estop_source.EstopSource` on descriptor ``fd``."""

    name = "a key"
    held = False

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._settings: list[Any] | None = None
        self._ended = False

    def open(self) -> None:
        """Have a terminal pass on each key at once; call it in the main thread.

        Raises:
            ConfigError: there is no standard input, it has ended before, or it is the terminal of
                another job.
        """
        if self._ended:
            raise ConfigError("standard input has ended; start again to have a key that stops")
        try:
            if os.isatty(self._fd):
                self._take_terminal()
            os.fstat(self._fd)
        except (OSError, termios.error) as error:
            raise ConfigError(f"standard input cannot be the emergency stop ({error})") from error

    def _take_terminal(self) -> None:
        if os.tcgetpgrp(self._fd) != os.getpgrp():
            raise ConfigError("a key cannot be the emergency stop of a job in the background")
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)  # once in the background: an error, not a halt
        self._settings = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        sys.stderr.write("any key is the emergency stop\n")

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def take(self) -> Signal:
        """Any byte is a press; the end of the file is a loss for good."""
        try:
            self._ended = not os.read(self._fd, _BYTES_AT_ONCE)
        except OSError:
            self._ended = True
        return Signal.LOST if self._ended else Signal.PRESSED

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._settings is not None:
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._settings)
            self._settings = None
