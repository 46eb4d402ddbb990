"""The harness's end of the serial line: a pseudo terminal of its own, or a real adapter."""

from __future__ import annotations

import os
import pty
import termios
import tty
from pathlib import Path
from typing import NamedTuple, Protocol

from protocol.errors import ConfigError


class Opened(NamedTuple):
    """A line to read and write without blocking, and what it is called."""

    descriptor: int
    name: str


class Terminal(Protocol):
    """A line that can be opened, closed and opened again."""

    def open(self) -> Opened:
        """Take the line. Raises ConfigError."""
        ...

    def close(self) -> None:
        """Give it back; to the host it is gone. Does nothing if it is not open."""


class PseudoTerminal:
    """A pseudo terminal which the host finds under a symbolic link.

    Args:
        path: where the link is put; an old link is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._master = self._slave = -1

    def open(self) -> Opened:
        """Create the terminal and its link, as when an adapter is plugged in.

        Raises:
            ConfigError: no pseudo terminal can be had, or ``path`` cannot be a link.
        """
        try:
            self._master, self._slave = pty.openpty()
        except OSError as error:
            raise ConfigError(f"no pseudo terminal on this machine ({error})") from error
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        name = os.ttyname(self._slave)
        try:
            self._place(name)
        except ConfigError:
            self._hang_up()
            raise
        return Opened(self._master, name)

    def close(self) -> None:
        """Remove the link and the terminal, as when the adapter is unplugged."""
        if self._master < 0:
            return
        if self._path.is_symlink() and os.readlink(self._path) == os.ttyname(self._slave):
            self._path.unlink()
        self._hang_up()

    def _hang_up(self) -> None:
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def _place(self, name: str) -> None:
        try:
            if self._path.is_symlink():
                self._path.unlink()
            self._path.symlink_to(name)
        except OSError as error:
            raise ConfigError(
                f"cannot link {self._path} to {name} ({error}); pass a free path in an existing "
                "directory as --link"
            ) from error


class SerialDevice:
    """A real serial adapter, crossed with the host's.

    Args:
        path: the device.
        baud: speed of the line.
    """

    def __init__(self, path: Path, baud: int) -> None:
        self._path, self._baud = path, baud
        self._descriptor = -1

    def open(self) -> Opened:
        """Take the line, raw and at its speed.

        Raises:
            ConfigError: there is no such line, it is not ours, or it cannot be so fast.
        """
        speed = getattr(termios, f"B{self._baud}", None)
        if speed is None:
            raise ConfigError(f"{self._path}: this system knows no {self._baud} baud")
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(self._descriptor)
            settings = termios.tcgetattr(self._descriptor)
            settings[4] = settings[5] = speed
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, settings)
        except (OSError, termios.error) as error:
            self.close()
            raise ConfigError(f"{self._path}: cannot open the serial line ({error})") from error
        return Opened(self._descriptor, str(self._path))

    def close(self) -> None:
        """Give the line back; to the host it falls silent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
