"""From the ring to the spool: a batch each second and at the end of every episode."""

from __future__ import annotations

from onboard.ring import RingReader
from onboard.spool import Spool
from protocol.messages import BATCH_MAX_RECORDS
from protocol.step_record import End, Rows

BATCH_PERIOD_S = 1.0


class Collector:
    """Moves rows; a row leaves the ring only after the spool's commit, so a kill loses none."""

    def __init__(self, ring: RingReader, spool: Spool, period_s: float = BATCH_PERIOD_S) -> None:
        self._ring = ring
        self._spool = spool
        self._period_s = period_s
        self._flushed_s = float("-inf")

    def step(self, now_s: float) -> None:
        """Make a batch if one is due.

        Raises:
            StoreError: ring or spool failed; the rows stay in the ring.
        """
        rows = self._ring.peek(BATCH_MAX_RECORDS)
        full = len(rows) == BATCH_MAX_RECORDS
        ended = bool((rows["end"] != End.RUNNING).any())
        if full or ended or now_s - self._flushed_s >= self._period_s:
            self._move(rows, now_s)

    def flush(self, now_s: float) -> None:
        """Everything that is in the ring, now. Raises StoreError as :meth:`step`."""
        while len(rows := self._ring.peek(BATCH_MAX_RECORDS)):
            self._move(rows, now_s)

    def _move(self, rows: Rows, now_s: float) -> None:
        self._spool.append(rows, self._ring.ended)
        self._ring.release(len(rows))
        self._flushed_s = now_s
