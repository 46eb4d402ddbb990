"""The directory of ring and socket: ours alone, or the robot is not started.

It usually lies in /dev/shm, where every user may make a directory of the same name first.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec

STATE = Path("state")
"""Where a robot's durable directory is looked for."""
_SHARED_MEMORY = Path("/dev") / "shm"


def runtime_directory(spec: RobotSpec, state: Path, chosen: Path | None) -> Path:
    """``chosen``, or the usual place of this robot's ring and socket."""
    if chosen is not None:
        return chosen
    return _SHARED_MEMORY / f"wombet-{spec.name}" if _SHARED_MEMORY.is_dir() else state / "run"


def make_private(directory: Path) -> Path:
    """Make ``directory`` (0700) if it is missing, and return it.

    Raises:
        ConfigError: it cannot be made, is no directory (a link is none), belongs to another user,
            or can be written by others.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise ConfigError(f"runtime directory {directory}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"runtime directory {directory} is a link; name the directory itself")
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"runtime directory {directory} belongs to user {found.st_uid}; remove it, or choose "
            "another with --runtime"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"runtime directory {directory} can be written by others "
            f"(mode {stat.S_IMODE(found.st_mode):o}); chmod 700 it, or choose another"
        )
    return directory
