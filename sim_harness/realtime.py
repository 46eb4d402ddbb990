"""Scheduling of the harness process: as real-time as this machine permits, and honest about it."""

from __future__ import annotations

import gc
import os

FIFO_PRIORITY = 60
"""Below the control process, which must win when both want a core."""

NICENESS = -10


def become_realtime() -> str:
    """Ask for real-time scheduling and stop the garbage collector; what was granted, in words."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
        return f"fifo {FIFO_PRIORITY}"
    except OSError:
        pass
    try:
        return f"soft, nice {os.nice(NICENESS)}"
    except OSError:
        return "soft"
