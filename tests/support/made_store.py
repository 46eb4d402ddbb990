"""A server's store and archive with episodes in it, as a robot would have left them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from made_records import SPEC

from offboard.data.catalogue import ARCHIVE, STORE
from offboard.episode_store import Delivery, EpisodeStore, open_episode_store
from offboard.mcap_archive import archive_episodes
from onboard.spool_entry import Tail, entries_of
from protocol.step_record import Rows

EPOCH = "a" * 32
BATCH_ROWS = 10


@contextmanager
def open_store(run: Path) -> Iterator[EpisodeStore]:
    """The store of ``run``, made if need be."""
    run.mkdir(exist_ok=True)
    store = open_episode_store(run / STORE, SPEC)
    try:
        yield store
    finally:
        store.close()


def deliver(store: EpisodeStore, rows: Rows, robot: str = "r") -> None:
    """Commit ``rows`` in batches of ``BATCH_ROWS``."""
    for first in range(0, len(rows), BATCH_ROWS):
        entries = entries_of(rows[first : first + BATCH_ROWS], Tail())
        seq = store.last(robot, EPOCH)
        messages = [entry.message(EPOCH, seq + n) for n, entry in enumerate(entries, 1)]
        store.accept([Delivery(robot, EPOCH, messages)])


def make_run(run: Path, rows: Rows, robots: tuple[str, ...] = ("r",)) -> Path:
    """A run directory whose finished episodes are archived."""
    with open_store(run) as store:
        for robot in robots:
            deliver(store, rows, robot)
            archive_episodes(store, robot, SPEC, run / ARCHIVE)
    return run


def held_records(store: EpisodeStore, robot: str = "r") -> list[int]:
    """Numbers of the records still packed."""
    parts = [rows["seq"].astype(np.int64) & (1 << 40) - 1 for rows in store.rows(robot)]
    return [int(number) for part in parts for number in part]
