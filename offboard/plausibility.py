"""Numbers that are well formed and yet cannot be: a clock that never was, a joint in orbit.

A batch refused here is lost to learning, so the bounds are far outside of what any robot does.
"""

from __future__ import annotations

from protocol.errors import WireError
from protocol.step_record import Rows

UPTIME_MAX_NS = 20 * 366 * 86_400 * 10**9
"""A monotonic clock counts from the robot's start; twenty years without one is none."""
ANSWER_MAX_NS = 3600 * 10**9
"""From sensing to acting, a frozen process included."""
OBSERVED_MAX = 1e6
"""Of any observation column, which are scaled to the order of one."""
NUMBER_MAX = 1 << 40
"""Of an entry of one spool: a batch every millisecond for thirty years."""


def check_first_held(number: int) -> None:
    """Judge from which entry on a robot says that it can resend.

    Raises:
        WireError: no spool ever gave so many numbers.
    """
    if number > NUMBER_MAX:
        raise WireError(f"no spool has given {number} numbers; robots count from 1")


def check_plausible(rows: Rows) -> None:
    """Judge (N,) rows that are well formed.

    Raises:
        WireError: naming the column that cannot be true.
    """
    if len(rows) == 0:
        return
    sensed_ns, acted_ns = rows["sense_ns"], rows["act_ns"]
    if sensed_ns.min() < 0 or sensed_ns.max() > UPTIME_MAX_NS:
        raise WireError("record sensed at a time no monotonic clock shows")
    if (acted_ns - sensed_ns).max() > ANSWER_MAX_NS:
        raise WireError("record answered an hour after it was sensed")
    if abs(rows["obs"]).max(initial=0.0) > OBSERVED_MAX:
        raise WireError(f"record with an observation beyond {OBSERVED_MAX:g}")
