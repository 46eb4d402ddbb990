"""One robot, one server, the proxy between them: where they lie and how they are run."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from made_records import DTYPE, ROBOT_FILE, SPEC

from offboard.episode_store import open_episode_store
from offboard.keys import enrol_robot, init_server
from onboard.agent import SPOOL_FILE
from onboard.control_api import RING_FILE
from onboard.ring import RingReader
from onboard.spool import open_spool
from protocol.errors import StoreError
from storm.crew import TREE, Member
from storm.server import CATALOGUE, KEYS

ROBOT = "r"


def free_port() -> int:
    """A loopback port nobody listens on."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Site:
    """Directories, keys and processes.

    Attributes:
        spool: the robot's spool file.
        catalogue: the server's catalogue file.
        source: makes records in the place of control, which does not run.
        agent: ``wombet-onboard agent``.
        server: ingest and archive.
    """

    def __init__(self, state: Path, server: Path, runtime: Path, logs: Path) -> None:
        self.state, self.directory = state, server
        self.spool, self.catalogue = state / SPOOL_FILE, server / CATALOGUE
        self.server_port = free_port()
        self._runtime, self._logs = runtime, logs
        self._backup = logs.parent / "backup"
        for directory in (state, server, runtime, logs, self._backup):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        init_server(server / KEYS)
        enrol_robot(server / KEYS, ROBOT, state)

    def staff(self, proxy_port: int, rows_per_s: float, other: Mapping[str, Path]) -> None:
        """Say who runs; nobody does yet. ``other`` are the trees of those from another release."""
        ring, logs = self._runtime / RING_FILE, self._logs
        self.source = Member(["storm.source", ring, rows_per_s], logs / "source.log")
        self.server = Member(
            ["storm.server", self.directory, self.server_port],
            logs / "server.log",
            other.get("server", TREE),
        )
        where = ["--state", self.state, "--runtime", self._runtime, "--robot", ROBOT_FILE]
        server = ["--server", f"tcp://127.0.0.1:{proxy_port}"]
        self.agent = Member(
            ["onboard.main", "agent", *where, *server],
            logs / "agent.log",
            other.get("agent", TREE),
        )
        self.crew = [self.source, self.server, self.agent]

    def start(self) -> None:
        """Whoever is not running."""
        for member in self.crew:
            member.start()

    @property
    def kills(self) -> int:
        return sum(member.kills for member in self.crew)

    def streaming(self) -> bool:
        """Has the agent ever heard the server?"""
        log = self._logs / "agent.log"
        return log.exists() and b'"streaming","state":true' in log.read_bytes()

    def back_up(self) -> None:
        """Copy the catalogue of the dead server, log and all."""
        for path in self._catalogue_files():
            shutil.copyfile(path, self._backup / path.name)

    def restore(self) -> bool:
        """Put the copy in the place of the dead server's catalogue; False if there is none."""
        copies = [*self._backup.iterdir()]
        if copies:
            self.discard()
            for path in copies:
                shutil.copyfile(path, self.directory / path.name)
        return bool(copies)

    def discard(self) -> None:
        """The catalogue is gone."""
        for path in self._catalogue_files():
            path.unlink()

    def catalogue_is_usable(self) -> bool:
        """What an operator finds out after a disk has lied: ``data verify``."""
        try:
            with closing(open_episode_store(self.catalogue, SPEC)) as store:
                store.examine()
        except StoreError:
            return False
        return True

    def pending(self) -> int:
        """Rows and entries the dead agent has not delivered."""
        with (
            closing(RingReader(self._runtime / RING_FILE, DTYPE)) as ring,
            closing(open_spool(self.spool)) as spool,
        ):
            return len(ring.peek(1 << 14)) + spool.newest + 1 - spool.first_held

    def produced(self) -> int:
        """Rows the ring has numbered."""
        with closing(RingReader(self._runtime / RING_FILE, DTYPE)) as ring:
            ring.peek(1)
            return ring.produced

    def _catalogue_files(self) -> list[Path]:
        return [*self.directory.glob(f"{CATALOGUE}*")]
