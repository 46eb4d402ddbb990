"""A snapshot of the control loop for whoever asks: plain counters read without a lock."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from onboard.control import Control
from onboard.control_api import Status, Timing
from onboard.ledger import Ledger
from onboard.ring import RingWriter
from onboard.stopwatch import Section
from onboard.timing import EDGES_US


class Place(NamedTuple):
    """What a robot is and where it runs; it does not change while it does.

    Attributes:
        robot: name of the robot file.
        task: name of the task.
        control_hz: rate of the loop.
        scheduling: "fifo" or "soft".
        notes: what real-time measure was refused, and other warnings of the start.
    """

    robot: str
    task: str = ""
    control_hz: int = 0
    scheduling: str = "soft"
    notes: Sequence[str] = ()


def snapshot(control: Control, ring: RingWriter, place: Place, now_ns: int) -> Status:
    """The state at ``now_ns``; counters of one tick may differ from each other by one tick."""
    counters, swap, watch = control.counters, control.swap, control.stopwatch
    life, patience = control.life, control.patience
    previous = swap.previous
    return Status(
        robot=place.robot,
        task=place.task,
        control_hz=place.control_hz,
        scheduling=place.scheduling,
        notes=[*place.notes, *_forgetful(swap.ledger)],
        pid=os.getpid(),
        at_ns=now_ns,
        mode=life.mode.name,
        reason=life.reason[:1024],
        mode_since_ns=life.entered_ns,
        changes=list(life.changes),
        episode=max(control.episode.number, 0),
        step=control.episode.step,
        active_version=swap.active_version,
        previous_version=0 if previous is None else previous.version,
        committed_versions=swap.ledger.record.versions,
        pinned_version=swap.ledger.record.pinned,
        ticks=counters.ticks,
        missed_ticks=counters.missed_ticks,
        missed_ticks_near_swaps=counters.missed_ticks_near_swaps,
        late_ticks=patience.late.total,
        interventions=control.helm.interventions,
        bus_misses=patience.misses.total,
        produced=ring.produced,
        dropped=ring.dropped,
        swaps=max(0, swap.counts["activated"] - 1),  # the first one replaced nobody
        activated=swap.counts["activated"],
        committed=swap.counts["committed"],
        rejected=swap.counts["rejected"],
        rolled_back=swap.counts["rolled_back"],
        events=list(swap.events),
        period_error_us=control.period_error.summary(),
        period_error_histogram=list(control.period_error.counts),
        period_error_sum_us=control.period_error.sum_us,
        work_us=watch.tick.work.summary(),
        work_histogram=list(watch.tick.work.counts),
        work_sum_us=watch.tick.work.sum_us,
        span_us=watch.tick.span.summary(),
        span_histogram=list(watch.tick.span.counts),
        span_sum_us=watch.tick.span.sum_us,
        sections={
            section.name.lower(): Timing(span_us=timed.span.summary(), work_us=timed.work.summary())
            for section, timed in zip(Section, watch.sections, strict=True)
        },
        bucket_edges_us=list(EDGES_US),
    )


def _forgetful(ledger: Ledger) -> list[str]:
    """What a restart would not know of."""
    trouble = ledger.trouble
    return [f"what is in force would be lost at a restart: {trouble}"[:1024]] if trouble else []
