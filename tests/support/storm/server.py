"""``python -m storm.server DIR PORT``: ingest as ``serve`` has it, and an archive, no learning.

As in ``serve`` an archive that fails is told once and tried again. It has a thread of its own here,
tries again sooner, and nothing is ever deleted from the disk to make room.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import closing
from pathlib import Path

import zmq
from made_records import SPEC

from offboard.episode_store import EpisodeStore, open_episode_store
from offboard.ingest import Ingest
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, load_server_keys
from offboard.mcap_archive import archive_episodes
from protocol.errors import StoreError

CATALOGUE, ARCHIVE, KEYS = "episodes.sqlite", "archive", "keys"
_ARCHIVE_S = 0.5


def serve(directory: Path, port: int, stop: threading.Event) -> None:
    """Until ``stop``; raises StoreError if the catalogue cannot be opened."""
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
            f"tcp://127.0.0.1:{port}",
        )
        archivist = threading.Thread(target=_archive, args=(store, directory / ARCHIVE, stop))
        archivist.start()
        try:
            ingest.serve(stop)
        finally:
            stop.set()
            archivist.join()


def _archive(store: EpisodeStore, directory: Path, stop: threading.Event) -> None:
    told = ""
    while not stop.wait(_ARCHIVE_S):
        trouble = _archived(store, directory)
        if trouble not in ("", told):
            print(f"archive failed and is tried again: {trouble}", file=sys.stderr, flush=True)
        told = trouble


def _archived(store: EpisodeStore, directory: Path) -> str:
    """One turn; what was in its way: a full or damaged disk."""
    try:
        for robot in store.robots():
            archive_episodes(store, robot, SPEC, directory)
    except StoreError as error:
        return str(error)
    return ""


def main() -> None:
    """The command line."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve(Path(sys.argv[1]), int(sys.argv[2]), stop)


if __name__ == "__main__":
    main()
