"""``wombet-onboard`` with a stopwatch at one place: the flip of policies at a tick boundary.

``python -m runtime.timed_control FILE ARGUMENTS…``; at the end FILE holds a JSON list of
nanoseconds, one per flip.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from pathlib import Path

from onboard.hotswap import HotSwap
from onboard.main import main


def timed_main() -> None:
    """As ``wombet-onboard``, its exit status included."""
    out, took_ns, flip = Path(sys.argv.pop(1)), array("Q"), HotSwap.flip

    def timed(swap: HotSwap) -> bool:
        began_ns = time.perf_counter_ns()
        flipped = flip(swap)
        if flipped:
            took_ns.append(time.perf_counter_ns() - began_ns)
        return flipped

    HotSwap.flip = timed  # type: ignore[method-assign]
    try:
        main()
    finally:
        out.write_text(json.dumps(took_ns.tolist()), encoding="utf-8")


if __name__ == "__main__":
    timed_main()
