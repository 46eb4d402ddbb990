"""All that a robot delivered, in order, wherever it lies by now: in the archive or still packed.

Retention drops packed records once the archive holds them. Who learns from a robot's beginning, as
a restarted server does, reads them here; a damaged batch too, if its episode was archived before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from offboard.data.catalogue import Catalogue
from offboard.data.recording import read_recording
from offboard.episode_store import EpisodeStore
from protocol.step_record import Rows

REST = "rest-*.mcap"
"""Files of records that lie in no episode; see :mod:`offboard.data.retention`."""
_CHUNK_ROWS = 64


def history(store: EpisodeStore, archive: Path, robot: str) -> Iterator[Rows]:
    """Records of ``robot`` in the order of their numbers, each once, a batch at a time.

    Raises:
        StoreError: store or archive is damaged, or a file of the archive is missing.
    """
    filed = _filed(store, archive, robot)
    for rows in store.rows(robot):
        first, beyond = np.searchsorted(filed["seq"], [rows["seq"][0], rows["seq"][-1] + 1])
        yield from _chunks(filed[:first])
        yield rows
        filed = filed[beyond:]
    yield from _chunks(filed)


def _chunks(rows: Rows) -> Iterator[Rows]:
    for first in range(0, len(rows), _CHUNK_ROWS):
        yield rows[first : first + _CHUNK_ROWS]


def _filed(store: EpisodeStore, archive: Path, robot: str) -> Rows:
    """What may be in the archive only, (N,) in order."""
    parts = [read_recording(path).rows for path in _files(store, archive, robot)]
    rows = np.concatenate([np.empty(0, store.dtype), *parts])
    _, order = np.unique(rows["seq"], return_index=True)
    ordered: Rows = rows[order]
    return ordered


def _files(store: EpisodeStore, archive: Path, robot: str) -> Iterator[Path]:
    """Files with records that are not all packed as well."""
    catalogue = Catalogue(store.database)
    packed = _Spans(catalogue, robot)
    yield from (archive / robot).glob(REST)
    begins = 0
    for episode in catalogue.episodes(robot):
        if episode.path and not packed.cover(begins, episode.last_record):
            yield archive / episode.path
        begins = episode.last_record + 1


class _Spans:
    """Numbers of the records in sound batches."""

    def __init__(self, catalogue: Catalogue, robot: str) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for batch in catalogue.packed(robot):
            if not batch.sound:
                continue
            if self._lasts and batch.first_record <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], batch.last_record)
            else:
                self._firsts.append(batch.first_record)
                self._lasts.append(batch.last_record)

    def cover(self, first: int, last: int) -> bool:
        """Whether all from ``first`` to ``last`` are there."""
        span = bisect_right(self._firsts, first) - 1
        return span >= 0 and last <= self._lasts[span]
