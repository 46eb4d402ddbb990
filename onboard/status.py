"""A snapshot of the control loop for whoever asks: plain counters read without a lock."""

from __future__ import annotations

from onboard.control import Control
from onboard.control_api import Status
from onboard.ring import RingWriter
from onboard.timing import EDGES_US


def snapshot(control: Control, ring: RingWriter, robot: str, scheduling: str) -> Status:
    """The present state; counters of one tick may differ from each other by one tick."""
    counters, swap = control.counters, control.swap
    return Status(
        robot=robot,
        mode=control.mode.name,
        reason=control.reason[:1024],
        scheduling=scheduling,
        episode=max(control.episode.number, 0),
        step=control.episode.step,
        active_version=swap.active_version,
        ticks=counters.ticks,
        missed_ticks=counters.missed_ticks,
        missed_ticks_near_swaps=counters.missed_ticks_near_swaps,
        late_ticks=control.late.total,
        interventions=counters.interventions,
        bus_misses=control.misses.total,
        produced=ring.produced,
        dropped=ring.dropped,
        swaps=max(0, swap.counts["activated"] - 1),  # the first one replaced nobody
        activated=swap.counts["activated"],
        committed=swap.counts["committed"],
        rejected=swap.counts["rejected"],
        rolled_back=swap.counts["rolled_back"],
        events=list(swap.events),
        period_error_us=control.period_error.summary(),
        work_us=control.work.summary(),
        period_error_histogram=list(control.period_error.counts),
        work_histogram=list(control.work.counts),
        bucket_edges_us=list(EDGES_US),
    )
