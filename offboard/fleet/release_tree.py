"""A release of the runtime as files: wheels unpacked into one folder that is named by its content.

::

    opt/wombet/releases/ID/bin/wombet-onboard   starts it with the system's own interpreter
    opt/wombet/releases/ID/lib/…                what the wheels hold
    opt/wombet/releases/ID/release.json         what it was made of
    opt/wombet/releases/ID/robots/UNIT.toml     each unit's robot file, calibrated
    opt/wombet/current -> releases/ID

Nothing has to be installed or fetched on the robot, so unpacking works for any machine. A release
that is taken back takes its robot files with it.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from offboard.fleet.modules import Target
from offboard.fleet.overlay import Entry, check_paths, manifest_of
from protocol.errors import ConfigError

PLACE = "opt/wombet"
CURRENT = f"{PLACE}/current"
ONBOARD = ("onboard", "protocol")
"""What a robot has of our own wheel; training stays on the server."""
_OURS = "wombet-"
_ID_CHARS = 16
_UNPACKED_MAX = 2 * 1024**3
_LAUNCHER = """\
#!/usr/bin/{python} -I
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from onboard.main import main

main()
"""


@dataclass(frozen=True)
class Release:
    """Its name, and its files relative to its folder."""

    id: str
    entries: Sequence[Entry]

    @property
    def place(self) -> str:
        """Its folder on the unit."""
        return f"{PLACE}/releases/{self.id}"

    def installed(self) -> list[Entry]:
        """The files where they lie on the unit, and the link that makes it the current one."""
        files = [replace(entry, path=f"{self.place}/{entry.path}") for entry in self.entries]
        return [*files, Entry(CURRENT, mode=0o777, link=f"releases/{self.id}")]

    def file(self, path: str) -> bytes:
        """One of its files. Raises ConfigError if it has none such."""
        for entry in self.entries:
            if entry.path == path:
                return entry.data
        raise ConfigError(
            f"release {self.id} has no {path}; was it made of this fleet file and a wombet wheel?"
        )


def release_of(entries: Iterable[Entry]) -> str:
    """Id of the release that an overlay's ``entries`` put in force; empty if there is none."""
    links = {entry.path: entry.link or "" for entry in entries}
    return links.get(CURRENT, "").rpartition("/")[2]


def robot_path(unit: str) -> str:
    """Where the robot file of ``unit`` lies in a release."""
    return f"robots/{unit}.toml"


def make_release(
    wheels: Sequence[tuple[str, bytes]], target: Target, robots: Mapping[str, str]
) -> Release:
    """Unpack wheels, ours among them, for one target.

    Args:
        wheels: file name and bytes of each.
        target: the interpreter that will run it.
        robots: robot files by unit.

    Raises:
        ConfigError: a wheel is damaged, two hold the same file, or ours is missing.
    """
    if sum(name.startswith(_OURS) for name, _ in wheels) != 1:
        raise ConfigError("a release needs the wombet wheel, and only one")
    files = [entry for name, data in sorted(wheels) for entry in _unpacked(name, data)]
    made_of = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(wheels)}
    about = {"target": target.name, "wheels": made_of}
    launcher = _LAUNCHER.format(python=f"python{target.version}").encode()
    files += [Entry(robot_path(unit), text.encode()) for unit, text in robots.items()]
    files += [
        Entry("bin/wombet-onboard", launcher, 0o755),
        Entry("release.json", msgspec.json.format(msgspec.json.encode(about), indent=1)),
    ]
    files.sort(key=lambda entry: entry.path)
    check_paths([entry.path for entry in files])
    return Release(hashlib.sha256(manifest_of(files)).hexdigest()[:_ID_CHARS], files)


def _unpacked(name: str, data: bytes) -> Iterator[Entry]:
    """The files of one wheel under ``lib``, without its scripts."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            infos = [info for info in wheel.infolist() if not info.is_dir()]
            if sum(info.file_size for info in infos) > _UNPACKED_MAX:
                raise ConfigError(f"{name}: unpacks to more than {_UNPACKED_MAX} bytes")
            for info in infos:
                if (path := _place(name, info.filename)) is not None:
                    yield Entry(f"lib/{path}", wheel.read(info))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ConfigError(f"{name}: is no sound wheel ({error})") from error


def _place(name: str, path: str) -> str | None:
    """Where a wheel's file goes below ``lib``; None for what a robot does not need.

    Source: "Binary distribution format", section ".data directory", of the Python packaging guide.
    """
    top, _, rest = path.partition("/")
    if "__pycache__" in path.split("/"):
        return None  # made on the unit, which refuses a release that brings any
    if top.endswith(".data"):
        kind, _, inside = rest.partition("/")
        return posixpath.normpath(inside) if kind in ("purelib", "platlib") else None
    if name.startswith(_OURS) and not top.endswith(".dist-info") and top not in ONBOARD:
        return None
    return path
