"""A server as a process of its own, with nothing in it but what robots can reach.

Run as a program it serves the site in its one argument until SIGTERM, and keeps its counts in a
file beside it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import zmq
from made_records import SPEC
from made_server import Site, until
from msgspec import Struct

from offboard.episode_store import open_episode_store
from offboard.ingest import Ingest
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, load_server_keys

COUNTS_FILE = "counts.json"
COUNT_EVERY_S = 0.05


class Counts(Struct):
    endpoint: str
    committed: int
    refusals: dict[str, int]


class ServerProcess:
    """The running server, seen from outside."""

    def __init__(self, directory: Path, pid: int) -> None:
        self._directory = directory
        self.pid = pid

    def counts(self) -> Counts:
        return msgspec.json.decode((self._directory / COUNTS_FILE).read_bytes(), type=Counts)

    def refused(self, reason: str) -> int:
        return self.counts().refusals.get(reason, 0)

    def memory_bytes(self) -> int:
        """Resident."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextmanager
def serving(site: Site) -> Iterator[ServerProcess]:
    """Serve; ends by SIGTERM and must then have ended well."""
    directory = site.keys.parent
    (directory / COUNTS_FILE).unlink(missing_ok=True)
    argv = [sys.executable, "-W", "error", __file__, str(directory)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(argv, env=environment) as child:
        try:
            until((directory / COUNTS_FILE).exists, 120.0)
            server = ServerProcess(directory, child.pid)
            site.endpoint = server.counts().endpoint
            yield server
            assert child.poll() is None, "the server died"
        finally:
            child.terminate()
            assert child.wait(30) == 0


def main(directory: Path) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    keys = directory / "keys"
    with (
        closing(open_episode_store(directory / "episodes.sqlite", SPEC)) as store,
        zmq.Context() as context,
    ):
        ingest = Ingest(
            context,
            load_server_keys(keys),
            KeyTable(keys / TABLE_FILE),
            store,
            SPEC,
            directory / "repository",
            lambda robot, rows: None,
            "tcp://127.0.0.1:*",
        )
        thread = threading.Thread(target=ingest.serve, args=(stop,))
        thread.start()
        ingest.ready.wait(10)
        while not stop.wait(COUNT_EVERY_S):
            counts = Counts(ingest.endpoint, ingest.committed, dict(ingest.refusals))
            part = directory / f".{COUNTS_FILE}"
            part.write_bytes(msgspec.json.encode(counts))
            part.replace(directory / COUNTS_FILE)
            assert stop.is_set() or thread.is_alive(), "ingest ended by itself"
        thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
