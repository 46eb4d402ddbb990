"""``python -m data.server DIR``: a server's ingest; says where it listens; ends on SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import closing
from pathlib import Path

import zmq
from made_records import SPEC

from offboard.episode_store import open_episode_store
from offboard.ingest import Ingest
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, load_server_keys

CATALOGUE, KEYS = "episodes.sqlite", "keys"


def main() -> None:
    """The command line."""
    directory, stop = Path(sys.argv[1]), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with (
        closing(open_episode_store(directory / CATALOGUE, SPEC)) as store,
        zmq.Context() as context,
    ):
        ingest = Ingest(
            context,
            load_server_keys(directory / KEYS),
            KeyTable(directory / KEYS / TABLE_FILE),
            store,
            SPEC,
            directory / "repository",
            lambda robot, rows: None,
            "tcp://127.0.0.1:*",
        )
        herald = threading.Thread(target=_announce, args=(ingest,))
        herald.start()
        ingest.serve(stop)
        herald.join()


def _announce(ingest: Ingest) -> None:
    ingest.ready.wait()
    print(ingest.endpoint, flush=True)


if __name__ == "__main__":
    main()
