"""The wheels a robot runs on, each pinned by its SHA-256 in ``requirements/robot-TARGET.txt``.

What is in the folder is believed only after its bytes were compared with the lock.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from offboard.fleet.modules import Target
from protocol.errors import ConfigError

GLIBC_MINORS = (17, 24, 26, 27, 28, 31, 34, 35)
"""What Ubuntu 22.04 has at least; a wheel for a newer glibc than 2.35 is not taken."""
_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9_.-]+)==(?P<version>\S+) +--hash=sha256:(?P<hash>\w{64})$"
)
_FETCH_S = 1800

Run = Callable[[Sequence[str]], None]


class Pin(NamedTuple):
    """One line of a lock."""

    name: str
    version: str
    sha256: str


def lock_path(requirements: Path, target: Target) -> Path:
    """Where the lock of ``target`` lies."""
    return requirements / f"robot-{target.name}.txt"


def read_lock(path: Path) -> list[Pin]:
    """The pins of a lock file.

    Raises:
        ConfigError: it is missing, empty, or a line has no version and hash.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error}); is there a lock for it?") from error
    pins = []
    for line in lines:
        if line and not line.startswith("#"):
            if (found := _PINNED.match(line)) is None:
                raise ConfigError(f"{path}: {line!r} does not read NAME==VERSION --hash=sha256:…")
            pins.append(Pin(found["name"], found["version"], found["hash"]))
    if not pins:
        raise ConfigError(f"{path}: pins nothing")
    return pins


def pinned_wheels(folder: Path, pins: Sequence[Pin]) -> list[tuple[str, bytes]]:
    """Name and bytes of the wheel of every pin, by name; others in the folder are left.

    Raises:
        ConfigError: one is missing, or differs from what is pinned.
    """
    held = {_digest(path): path for path in sorted(folder.glob("*.whl"))}
    missing = [f"{pin.name}=={pin.version}" for pin in pins if pin.sha256 not in held]
    if missing:
        raise ConfigError(
            f"{folder}: no wheel with the pinned SHA-256 for {', '.join(missing)}; "
            "remove what is there and fetch again"
        )
    return sorted((held[pin.sha256].name, held[pin.sha256].read_bytes()) for pin in pins)


def complete(folder: Path, pins: Sequence[Pin]) -> bool:
    """Is every pinned wheel there?"""
    held = {_digest(path) for path in folder.glob("*.whl")}
    return all(pin.sha256 in held for pin in pins)


def fetch_wheels(lock: Path, target: Target, folder: Path, run: Run | None = None) -> None:
    """Have pip download what the lock of ``target`` pins, on whatever machine this is.

    Args:
        lock: its path.
        target: interpreter and machine.
        folder: where the wheels go; made if need be.
        run: runs a program, for tests.

    Raises:
        ConfigError: pip failed.
    """
    platforms = [f"manylinux_2_{minor}_{target.machine}" for minor in GLIBC_MINORS]
    options = [f"--platform={name}" for name in (*platforms, f"manylinux2014_{target.machine}")]
    options += [f"--abi={abi}" for abi in (target.python, "abi3", "none")]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    argv += ["--only-binary=:all:", "--implementation=cp", f"--python-version={target.version}"]
    folder.mkdir(parents=True, exist_ok=True)
    (run or _run)([*argv, *options, f"--dest={folder}", f"--requirement={lock}"])


def _run(argv: Sequence[str]) -> None:
    try:
        subprocess.run(argv, check=True, timeout=_FETCH_S)
    except (subprocess.SubprocessError, OSError) as error:
        raise ConfigError(f"the wheels could not be fetched: {error}") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
