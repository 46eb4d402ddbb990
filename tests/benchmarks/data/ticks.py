"""``python -m data.ticks RING RATE_HZ SECONDS``: a ring filled as by control, rows timed as sensed.

Says in the end, as JSON, how many rows there were, how many found the ring full, and how many slots
of the schedule passed without one.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path

from made_records import DTYPE

from data.backlog import rows
from onboard.ring import RingWriter
from onboard.schedule import Schedule

GENERATION = 2
CAPACITY = 1 << 14


def main() -> None:
    """The command line."""
    path, rate_hz, seconds = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    schedule = Schedule(round(1e9 / rate_hz), time.monotonic_ns, time.sleep)
    made, skipped = rows(0, round(rate_hz * seconds), GENERATION), 0
    with closing(RingWriter(path, DTYPE, CAPACITY, lambda: GENERATION).open()) as writer:
        for row in made:
            writer.row[0] = row
            wake = schedule.wait()
            writer.row["sense_ns"] = writer.row["act_ns"] = wake.started_ns
            skipped += wake.skipped
            writer.commit()
        counted = {"produced": writer.produced, "dropped": writer.dropped, "skipped": skipped}
        print(json.dumps(counted))


if __name__ == "__main__":
    main()
