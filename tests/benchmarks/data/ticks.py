"""``python -m data.ticks RING RATE_HZ SECONDS``: a ring filled as by control, rows timed as sensed.

Says in the end, as JSON, how many rows there were and how many found the ring full.
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
    made = rows(0, round(rate_hz * seconds), GENERATION)
    with closing(RingWriter(path, DTYPE, CAPACITY, lambda: GENERATION).open()) as writer:
        for row in made:
            writer.row[0] = row
            writer.row["sense_ns"] = writer.row["act_ns"] = schedule.wait().started_ns
            writer.commit()
        print(json.dumps({"produced": writer.produced, "dropped": writer.dropped}))


if __name__ == "__main__":
    main()
