"""A spool as a robot leaves it after so many records without a server."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from made_records import make_records

from onboard.agent import SPOOL_FILE
from onboard.spool import open_spool
from protocol.step_record import Rows

BATCH_RECORDS = 50
"""A second at 50 Hz, as the collector makes them."""
_POOL_RECORDS = 20_000
_QUOTA_BYTES = 1 << 32


def rows(first: int, count: int, generation: int = 1) -> Rows:
    """Rows of noise, which compresses badly; many are drawn from a pool, to be made in time."""
    made = make_records(first, count, generation) if count <= _POOL_RECORDS else _tiled(count)
    made["seq"] = (generation << 40) + np.arange(first, first + count)
    return made


def spool(directory: Path, records: int, memory: Path) -> None:
    """Write the spool below ``directory``; in ``memory`` first, where syncing costs nothing."""
    draft = memory / SPOOL_FILE
    made = rows(0, records)
    with closing(open_spool(draft, _QUOTA_BYTES)) as filling:
        for first in range(0, records, BATCH_RECORDS):
            filling.append(made[first : first + BATCH_RECORDS])
    shutil.move(draft, directory / SPOOL_FILE)


def spooling_records_s(directory: Path, records: int) -> float:
    """How fast a spool on ``directory``'s disk takes records: a durable commit for each batch."""
    made = rows(0, records)
    with closing(open_spool(directory / "speed.sqlite", _QUOTA_BYTES)) as filling:
        began_s = time.perf_counter()
        for first in range(0, records, BATCH_RECORDS):
            filling.append(made[first : first + BATCH_RECORDS])
        return records / (time.perf_counter() - began_s)


def _tiled(count: int) -> Rows:
    pool = make_records(0, _POOL_RECORDS)
    number = np.arange(count)
    made = pool[number % _POOL_RECORDS]
    made["tick"] = number
    made["sense_ns"] = number * 20_000_000
    made["act_ns"] = made["sense_ns"] + 1_000_000
    return made
