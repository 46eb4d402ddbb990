"""Proof that the steady tick leaves nothing behind: what Python's allocator holds before and after.

Every tick makes objects (each float is one) and drops them again; what must not happen is that
their number grows, for then a day's run ends in the allocator, the collector or swap.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable

WARM_UP = 3000
"""Calls after which caches and free lists are what they stay: CPython keeps up to 2,000 dead tuples
of each size for later, and a collection empties these lists."""


def blocks_grown(tick: Callable[[], object], ticks: int) -> int:
    """Memory blocks that ``ticks`` calls left behind, after a warm-up; about 0 if steady."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        _repeat(tick, WARM_UP)
        before = sys.getallocatedblocks()
        _repeat(tick, ticks)
        return sys.getallocatedblocks() - before
    finally:
        if enabled:
            gc.enable()


def peak_bytes(tick: Callable[[], object], ticks: int) -> int:
    """The most memory that was in use at any moment of ``ticks`` calls, above what was before."""
    tracemalloc.start()
    try:
        _repeat(tick, ticks)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        _repeat(tick, ticks)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _repeat(tick: Callable[[], object], times: int) -> None:
    for _ in range(times):
        tick()
