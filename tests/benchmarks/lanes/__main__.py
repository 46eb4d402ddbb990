"""``python -m lanes --out DIR METHOD:SEED …``: live cells, each lane on two cores of its own.

`make bench-flagship` runs one cell after another, because two loops would disturb each other. Here
every lane has its own cores, network and robot file (with its own core to keep time on), so that
each sees what a machine of two cores would be. Needs root and Linux.
Sources and experts must be in ``DIR``. The exit status is 1 unless every cell ran.
"""

from __future__ import annotations

import argparse
import os
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lanes.lane import CORES, run_lane


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lanes", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)) // CORES)
    parser.add_argument("--until-s", type=float, default=1e9, help="no cell begins after that long")
    parser.add_argument("cells", nargs="+", help="METHOD:SEED")
    options = parser.parse_args()
    cells = [(method, int(seed)) for method, _, seed in (c.partition(":") for c in options.cells)]
    context = get_context("spawn")
    todo: Any = context.Queue()
    for cell in cells:
        todo.put(cell)
    end = time.monotonic() + options.until_s
    lanes = [
        context.Process(target=run_lane, args=(number, todo, options.out.resolve(), end))
        for number in range(min(options.lanes, len(cells)))
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    raise SystemExit(any(lane.exitcode for lane in lanes))


if __name__ == "__main__":
    main()
