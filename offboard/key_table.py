"""Who may speak to the server: public keys and the robot each belongs to, in ``robots.json``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from offboard.durable_file import write_durably
from protocol.errors import ConfigError

ROBOT_NAME = r"^[a-z][a-z0-9_-]{0,31}$"


class RobotKey(Struct, frozen=True, forbid_unknown_fields=True):
    """One enrolled key (z85); an inactive one was revoked and is kept for the record."""

    public: Annotated[str, Meta(pattern=r"^[!-~]{40}$")]
    robot: Annotated[str, Meta(pattern=ROBOT_NAME)]
    active: bool = True


_decoder = msgspec.json.Decoder(list[RobotKey])


def read_key_table(path: Path) -> list[RobotKey]:
    """All enrolled keys.

    Raises:
        ConfigError: the file is missing or malformed.
    """
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
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

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._robots: dict[str, str] = {}
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
        self._robots = {key.public: key.robot for key in keys if key.active}
        self._stamp = stamp

    def robot_of(self, public: str) -> str | None:
        """The robot a z85 public key belongs to, if it is enrolled and not revoked."""
        return self._robots.get(public)
