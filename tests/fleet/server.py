"""``python -m fleet.server PLACE ENDPOINT``: what robots reach of a server, without a learner."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import closing
from pathlib import Path

import zmq

from offboard.episode_store import open_episode_store
from offboard.ingest import Ingest
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, load_server_keys
from protocol.robot_spec import load_robot_spec


def main(place: Path, endpoint: str) -> None:
    """Serve until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    spec = load_robot_spec(place / "furuta.toml")
    keys = place / "keys"
    with (
        closing(open_episode_store(place / "episodes.sqlite", spec)) as store,
        zmq.Context() as context,
    ):
        ingest = Ingest(
            context,
            load_server_keys(keys),
            KeyTable(keys / TABLE_FILE),
            store,
            spec,
            place / "out" / "repository",
            lambda robot, rows: None,
            endpoint,
        )
        ingest.serve(stop)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
