"""``python -m fleet.server PLACE ENDPOINT``: what robots reach of a server, without a learner."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import zmq

from offboard.episode_store import open_episode_store
from offboard.ingest import Ingest
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, load_server_keys
from offboard.release_record import ReleaseRecord
from protocol.robot_spec import load_robot_spec

ANNOUNCED = "announced"
"""Below the place: the number of the newest policy."""


def main(place: Path, endpoint: str) -> None:
    """Serve until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    spec = load_robot_spec(place / "furuta.toml")
    keys = place / "keys"
    record = ReleaseRecord(run_of(place))
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
            on_report=record.heard,
        )
        with _every_second(lambda: _refresh(record, ingest, place), stop):
            ingest.serve(stop)


def run_of(place: Path) -> Path:
    """What stands for a run of ``serve``: what units tell of their releases lies there."""
    run = place / "run"
    run.mkdir(exist_ok=True)
    (run / "config.json").write_text("{}", encoding="utf-8")
    return run


def _refresh(record: ReleaseRecord, ingest: Ingest, place: Path) -> None:
    """What was heard goes to the disk, what was published is announced."""
    record.write()
    with suppress(FileNotFoundError):
        ingest.policy_version = int((place / ANNOUNCED).read_text(encoding="ascii"))


@contextmanager
def _every_second(work: Callable[[], None], stop: threading.Event) -> Iterator[None]:

    def again() -> None:
        while not stop.wait(1.0):
            work()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
