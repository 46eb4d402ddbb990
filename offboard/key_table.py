"""Who may speak to the server: public keys and the robot each belongs to, in ``robots.json``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from offboard.durable_file import write_durably
from protocol.errors import ConfigError

ROBOT_NAME = r"^[a-z][a-z0-9_-]{0,31}\Z"


class RobotKey(Struct, frozen=True, forbid_unknown_fields=True):
    """One enrolled key (z85); an inactive one was revoked and is kept for the record.

    One that was replaced is good until ``until_s``, in Unix time.
    """

    public: Annotated[str, Meta(pattern=r"^[!-~]{40}\Z")]
    robot: Annotated[str, Meta(pattern=ROBOT_NAME)]
    active: bool = True
    until_s: float | None = None

    def good(self, now_s: float) -> bool:
        """Does it let its holder in?"""
        return self.active and (self.until_s is None or now_s < self.until_s)


_decoder = msgspec.json.Decoder(list[RobotKey])


def read_key_table(path: Path) -> list[RobotKey]:
    """All enrolled keys.

    Raises:
        ConfigError: the file is missing or malformed.
    """
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"key table {path} cannot be read: {error}") from error


def write_key_table(path: Path, keys: list[RobotKey]) -> None:
    """Replace the table at once; a running server notices. Raises StoreError."""
    write_durably(path, msgspec.json.format(msgspec.json.encode(keys), indent=1))


def check_robot_name(robot: str) -> None:
    """Raises ConfigError if ``robot`` cannot name a robot; names become folders."""
    if not re.fullmatch(ROBOT_NAME, robot):
        raise ConfigError(f"robot name {robot!r} must be lower case, as in furuta-01")


class KeyTable:
    """The table as a running server sees it: read again whenever the file changes.

    If the file becomes unreadable the last good table stays in force and ``failures`` counts.
    """

    def __init__(self, path: Path, clock_s: Callable[[], float] = time.time) -> None:
        """``clock_s`` is Unix time."""
        self._path = path
        self._clock_s = clock_s
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, RobotKey] = {}
        self.failures = 0

    def refresh(self) -> None:
        """Take up a changed file; cheap when it has not changed. Never raises."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self._stamp:
                return
            keys = read_key_table(self._path)
        except (OSError, ConfigError):
            self.failures += 1
            return
        self._keys = {key.public: key for key in keys if key.active}
        self._stamp = stamp

    def robot_of(self, public: str) -> str | None:
        """The robot a z85 public key belongs to, if that key still lets anybody in."""
        key = self._keys.get(public)
        return key.robot if key is not None and key.good(self._clock_s()) else None
