"""Where units are made ready: fleet file, keys and locks go in, overlays come out.

::

    OUT/wheels/TARGET/*.whl       as the lock of that target pins them, fetched when missing
    OUT/releases/TARGET/          what was made for units of that target, to go back to
    OUT/units/UNIT/identity/      0700; enrolled once
    OUT/units/UNIT/overlay.tar    0600; it holds the unit's secret
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from offboard.durable_file import write_durably
from offboard.fleet.fleet_file import Fleet, load_fleet, unit_robot_file
from offboard.fleet.modules import Target
from offboard.fleet.overlay import Overlay
from offboard.fleet.release_store import ReleaseStore
from offboard.fleet.release_tree import Release, make_release
from offboard.fleet.unit_identity import unit_identity
from offboard.fleet.unit_overlay import make_overlay
from offboard.fleet.wheelhouse import (
    complete,
    fetch_wheels,
    lock_path,
    pinned_wheels,
    read_lock,
)
from protocol.errors import ConfigError, StoreError

SOURCE = Path(__file__).parents[2]
"""The source tree; a unit's software is built from it."""
_BUILD_S = 300
Wheel = tuple[str, bytes]


def build_wheel(source: Path = SOURCE) -> Wheel:
    """Our own wheel, built from ``source``: the same tree gives the same bytes.

    Raises:
        ConfigError: it is no source tree, or hatchling failed.
    """
    if not (source / "pyproject.toml").is_file():
        raise ConfigError(f"{source} is no source tree of wombet; run this in a checkout")
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        try:
            subprocess.run(argv, cwd=source, check=True, capture_output=True, timeout=_BUILD_S)
        except (subprocess.SubprocessError, OSError) as error:
            raise ConfigError(f"our own wheel could not be built: {error}") from error
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.name, wheel.read_bytes()


def given_wheel(path: Path) -> Callable[[], Wheel]:
    """Our own wheel as somebody else has built it; raises ConfigError if it cannot be read."""

    def read() -> Wheel:
        try:
            return path.name, path.read_bytes()
        except OSError as error:
            raise ConfigError(f"wheel {path} cannot be read: {error.strerror}") from error

    return read


@dataclass(frozen=True)
class Workshop:
    """The inputs and the place; ``wheel`` builds our own one.

    Attributes:
        fleet_path: the fleet file.
        keys: the server's keys, made by ``wombet-offboard keys init``.
        out: what is made is kept here.
        requirements: the folder of locks.
    """

    fleet_path: Path
    keys: Path
    out: Path
    requirements: Path = SOURCE / "requirements"
    wheel: Callable[[], Wheel] = build_wheel

    def fleet(self) -> Fleet:
        """The fleet file, checked. Raises ConfigError."""
        return load_fleet(self.fleet_path)

    def release(self, target: Target) -> Release:
        """The runtime of this source tree for ``target``, with the robot files of its units.

        Raises:
            ConfigError: fleet file or a robot file are wrong; wheels are missing and cannot be
                fetched, or are not the pinned ones.
        """
        fleet = self.fleet()
        robots = {
            name: unit_robot_file(self.fleet_path, fleet, name)
            for name, unit in fleet.units.items()
            if unit.target == target
        }
        return make_release([*self._wheels(target), self.wheel()], target, robots)

    def overlay(self, name: str, data_partition: bool) -> Overlay:
        """What unit ``name`` gets, also written to ``overlay.tar``.

        Raises:
            ConfigError: fleet file, robot file, keys or wheels are wrong.
            StoreError: it cannot be written.
        """
        fleet = self.fleet()
        unit = fleet.unit(name)
        release = self.release(unit.target)
        ReleaseStore(self.out / "releases").keep(release, unit.target)
        made = make_overlay(
            name,
            unit,
            fleet.server,
            fleet.operators,
            unit_identity(self.keys, name, self._place(name) / "identity"),
            release,
            data_partition,
        )
        write_durably(self.overlay_path(name), made.tar())
        return made

    def overlay_path(self, name: str) -> Path:
        """Where :meth:`overlay` leaves the archive."""
        return self._place(name) / "overlay.tar"

    def _place(self, name: str) -> Path:
        place = self.out / "units" / name
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{place} cannot be made: {error.strerror}") from error
        return place

    def _wheels(self, target: Target) -> Sequence[Wheel]:
        lock = lock_path(self.requirements, target)
        pins, folder = read_lock(lock), self.out / "wheels" / target.name
        if not complete(folder, pins):
            fetch_wheels(lock, target, folder)
        return pinned_wheels(folder, pins)


def fingerprint(path: Path) -> str:
    """SHA-256 of an archive: the same inputs show the same. Raises StoreError."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
