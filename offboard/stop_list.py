"""Which robots the server's operator wants stopped: ``stopped.json``, beside the key table.

A stop by the server is a convenience of the last resort: it needs the network, and takes about a
second. Whoever can reach the robot uses a stop that is wired to it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from offboard.durable_file import write_durably
from offboard.key_table import check_robot_name
from protocol.errors import ConfigError

STOPS_FILE = "stopped.json"

_decoder = msgspec.json.Decoder(dict[str, str])


def read_stops(path: Path) -> dict[str, str]:
    """Reason by robot; none if there is no file. Raises ConfigError if it is damaged."""
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"list of stops {path} cannot be read: {error}") from error


def stop_robot(directory: Path, robot: str, reason: str) -> None:
    """Have ``robot`` stopped until :func:`release_robot`, by a server that runs or will run.

    Raises:
        ConfigError: no such name, or the list is damaged.
        StoreError: it cannot be written.
    """
    check_robot_name(robot)
    _write(directory, {**read_stops(directory / STOPS_FILE), robot: reason[:1024]})


def release_robot(directory: Path, robot: str) -> None:
    """Want it stopped no more; the stop itself is cleared at the robot. Raises as above."""
    stops = read_stops(directory / STOPS_FILE)
    if stops.pop(robot, None) is None:
        raise ConfigError(f"{robot} is not stopped by the server; stopped are {sorted(stops)}")
    _write(directory, stops)


def _write(directory: Path, stops: dict[str, str]) -> None:
    write_durably(directory / STOPS_FILE, msgspec.json.encode(stops, order="sorted"))


class StopList:
    """The list as a running server sees it: read again whenever the file changes.

    A file that becomes unreadable takes no stop back: the last good list stays in force.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Without a ``path`` nobody is stopped."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._stops: dict[str, str] = {}

    def refresh(self) -> None:
        """Take up a changed file; cheap when it has not changed. Never raises."""
        if self._path is None:
            return
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._stops, self._stamp = {}, None
            return
        except OSError:
            return
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        if stamp != self._stamp:
            self._take(self._path, stamp)

    def _take(self, path: Path, stamp: tuple[int, int, int]) -> None:
        try:
            self._stops = read_stops(path)
        except ConfigError:
            return
        self._stamp = stamp

    def reason_for(self, robot: str) -> str:
        """Why ``robot`` shall stop; empty if it need not."""
        return self._stops.get(robot, "")
