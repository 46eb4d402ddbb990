"""A disk small enough to be filled: a tmpfs in a mount namespace of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

NAMESPACE = "WOMBET_STORM_NAMESPACE"
_UNSHARE = ("unshare", "--mount", "--propagation", "private")
_BALLAST, _CHUNK = "ballast", bytes(4096)


def enter_namespace() -> str:
    """Run this program again where it may mount; why that is not possible, or nothing if it is."""
    if os.environ.get(NAMESPACE):
        return ""
    obstacle = obstacle_to_mounting()
    if not obstacle:
        os.environ[NAMESPACE] = "1"
        os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, "-m", "storm", *sys.argv[1:]])
    return obstacle


def obstacle_to_mounting() -> str:
    """Why nothing can be mounted here, or nothing if it can."""
    if os.geteuid() != 0:
        return "not root: nothing can be mounted"
    if subprocess.run([*_UNSHARE, "true"], check=False, capture_output=True).returncode != 0:
        return "unshare --mount is not permitted"
    return ""


class SmallDisk:
    """A directory that is a disk of so many bytes while mounted."""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self.directory = directory
        self._size_bytes = size_bytes

    def mount(self) -> None:
        self.directory.mkdir(parents=True)
        options = f"size={self._size_bytes},mode=700"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "storm", str(self.directory)], check=True
        )

    def fill(self) -> None:
        """Leave no byte free."""
        with (
            suppress(OSError),
            open(self.directory / _BALLAST, "ab", buffering=0) as ballast,
        ):
            while ballast.write(_CHUNK):
                pass

    def free(self) -> None:
        (self.directory / _BALLAST).unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.directory)], check=True)
