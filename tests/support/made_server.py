"""A whole server on loopback, and robots that talk to it: real sockets, real keys, real files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zmq
from made_records import SPEC

from offboard.episode_store import EpisodeStore, open_episode_store
from offboard.ingest import Ingest
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, init_server, load_server_keys
from offboard.stop_list import STOPS_FILE, StopList
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows


class Site:
    """A server's directories and keys; the server itself comes and goes."""

    def __init__(self, directory: Path, spec: RobotSpec = SPEC) -> None:
        self._spec = spec
        self.keys = directory / "keys"
        self.repository = directory / "repository"
        self.catalogue = directory / "episodes.sqlite"
        self.endpoint = "tcp://127.0.0.1:*"
        self.seen: list[tuple[str, Rows]] = []
        init_server(self.keys)

    @contextmanager
    def running(self) -> Iterator[Ingest]:
        """Serve; the first time on any port, then always on the same one."""
        store = open_episode_store(self.catalogue, self._spec)
        stop = threading.Event()
        with zmq.Context() as context:
            ingest = Ingest(
                context,
                load_server_keys(self.keys),
                KeyTable(self.keys / TABLE_FILE),
                store,
                self._spec,
                self.repository,
                lambda robot, rows: self.seen.append((robot, rows.copy())),
                self.endpoint,
                StopList(self.keys / STOPS_FILE),
            )
            thread = threading.Thread(target=ingest.serve, args=(stop,))
            thread.start()
            try:
                assert ingest.ready.wait(10)
                self.endpoint = ingest.endpoint
                yield ingest
            finally:
                stop.set()
                thread.join()
                store.close()

    @contextmanager
    def store(self) -> Iterator[EpisodeStore]:
        """The catalogue while no server runs."""
        store = open_episode_store(self.catalogue, self._spec)
        try:
            yield store
        finally:
            store.close()

    def records(self, robot: str) -> Rows:
        """Everything committed of a robot, while no server runs."""
        with self.store() as store:
            return np.concatenate([np.empty(0, store.dtype), *store.rows(robot)])


def until(condition: Callable[[], object], within_s: float = 20.0) -> None:
    """Poll for a condition; fails with its name if it does not come true in time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{condition} did not come true in {within_s} s"
        time.sleep(0.01)
