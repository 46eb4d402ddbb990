"""``python -m storm.source RING ROWS_PER_S``: stands in for control and fills the ring.

Row number ``n`` has the same bytes whoever computes it, so nobody needs to keep a log of what was
produced, and this process may be killed like any other.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
from made_records import DTYPE, GENERATION

from onboard.ring import RingWriter
from protocol.modes import Mode
from protocol.step_record import End, Rows

EPISODE_STEPS = 60
CAPACITY = 1 << 14
_PERIOD_S = 0.02


def rows(first: int, count: int) -> Rows:
    """Rows ``first`` to ``first + count - 1``, as the ring numbers them."""
    number = np.arange(first, first + count)
    made = np.zeros(count, dtype=DTYPE)
    made["seq"] = GENERATION + number
    made["tick"] = number
    made["sense_ns"] = number * 2_000_000
    made["act_ns"] = made["sense_ns"] + 500_000
    made["episode"], made["step"] = np.divmod(number, EPISODE_STEPS)
    made["end"][made["step"] == EPISODE_STEPS - 1] = End.TRUNCATED
    made["mode"] = Mode.RUN
    columns = np.arange(made["obs"].shape[1])
    made["obs"] = np.sin(number[:, None] * 0.7 + columns)
    made["requested"] = made["applied"] = np.cos(number)[:, None]
    return made


def fill(path: Path, rows_per_s: float, stop: threading.Event) -> None:
    """Commit the next rows of the ring until ``stop``."""
    with closing(RingWriter(path, DTYPE, CAPACITY, lambda: 1).open()) as writer:
        while not stop.wait(_PERIOD_S):
            for row in rows(writer.produced, round(rows_per_s * _PERIOD_S)):
                writer.row[0] = row
                writer.commit()


def main() -> None:
    """The command line."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    fill(Path(sys.argv[1]), float(sys.argv[2]), stop)


if __name__ == "__main__":
    main()
