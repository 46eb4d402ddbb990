"""Real-time placement of the control process: try everything, believe nothing, report what held.

Each measure is applied and then read back. Whatever is refused turns the result into "soft" with a
reason; the runtime works either way, and its status says which. Nothing here needs a library.
Source: RUNTIME.md § 1.1, § 1.7; FLEET.md § 5 (RT group scheduling can refuse FIFO even to root).
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from protocol.robot_spec import Timing

_MCL_CURRENT_AND_FUTURE = 3
_CAP_IPC_LOCK = 1 << 14
_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29
_SWITCH_INTERVAL_S = 2e-4
"""How long another thread may keep the interpreter lock from a tick that is due (default 5 ms)."""
EARLY_NS = round(1e9 * _SWITCH_INTERVAL_S)
"""How long before its slot the loop wakes: time to get the lock, and for the timer to be late."""


class Placement(NamedTuple):
    """What the operating system granted: "fifo" is all of it, else "soft"; why, line by line."""

    scheduling: str
    notes: list[str]


def place(timing: Timing) -> Placement:
    """Pin the calling thread, make it SCHED_FIFO, lock memory, stop the garbage collector.

    Call once, just before the first tick; threads started later have normal priority until they
    call :func:`assist`.
    """
    refused = [note for note in (_pin(timing.cpu), _fifo(timing.fifo_priority), _lock()) if note]
    _sharpen()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.disable()
    fifo = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    return Placement("fifo" if fifo and not refused else "soft", refused)


def assist(timing: Timing) -> None:
    """Let the calling thread run just below the loop, on any core, if FIFO can be had.

    A thread that shares the interpreter lock with the loop must not be preempted by ordinary
    processes while it holds that lock, or the loop waits for them (priority inversion).
    """
    with suppress(OSError):
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(max(timing.fifo_priority - 1, 1)))


def outrank(timing: Timing) -> None:
    """Let the calling thread run above the loop, if FIFO can be had: it may have to stop it."""
    with suppress(OSError):
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(timing.fifo_priority + 1))


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when process ``parent`` dies, however it dies (Linux).

    Takes it at once if that has happened before the kernel was asked.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        signal.raise_signal(signal.SIGTERM)


def _pin(cpu: int) -> str | None:
    allowed = os.sched_getaffinity(0)
    if cpu not in allowed:
        return f"cpu {cpu} is not among the allowed {sorted(allowed)}: not pinned"
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        return f"cpu {cpu} refused: {error}"
    return None


def _fifo(priority: int) -> str | None:
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError as error:
        return f"SCHED_FIFO {priority} refused: {error}; grant rtprio or CAP_SYS_NICE"
    return None


def _lock() -> str | None:
    """Lock memory, unless a finite limit would make later allocations fail instead of this call."""
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    if not (unlimited or _effective_capabilities() & _CAP_IPC_LOCK):
        return "mlockall not tried: the memlock limit is finite; set it to unlimited"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT_AND_FUTURE) != 0:
        return f"mlockall refused: {os.strerror(ctypes.get_errno())}"
    return None


def _sharpen() -> None:
    """Without FIFO the kernel lets timers of this thread be 50 µs late to save power; not here.

    Source: prctl(2), PR_SET_TIMERSLACK; real-time threads have no slack anyway.
    """
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1))


def _effective_capabilities() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
