"""One cell: the loop at one rate, alone on its core or beside everything that can disturb it.

Loaded means, all at once: records stream to an ingest, a new policy takes the whole way from the
signed repository to the moving robot every two seconds, and on the other cores something computes
and something else writes to the disk as fast as it can.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np

from onboard.stopwatch import Section
from onboard.tick import Driver
from protocol.modes import MOVING
from protocol.step_record import Rows
from runtime import cyclictest
from runtime.machine import stolen_ms
from runtime.network import lay_out, make_bundle
from runtime.percentiles import Json, percentiles, window
from runtime.robot import Bed, Robot
from runtime.server import FIRST, Server, delays_s, serving

SWAP_EVERY_S = 2.0
WARM_UP_S = 2.0
PAUSE_S = 0.1
CYCLICTEST_SHARE = 0.2
"""Of the cell's seconds, before and again after it."""


class Cell(NamedTuple):
    """What is measured: ``50-loaded`` on the command line."""

    rate_hz: int
    load: str

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.rate_hz}-{self.load}"


CELLS = [Cell(rate_hz, load) for rate_hz in (50, 200, 500) for load in ("quiet", "loaded")]


def measure(cell: Cell, bed: Bed, mjcf: Path, seconds: float) -> Json:
    """The cell's entry in ``runtime.json``."""
    loaded = cell.load == "loaded"
    with _hogs(bed) if loaded else nullcontext():
        before = _cyclictest(bed, seconds)
        found = (_loaded if loaded else _quiet)(bed, mjcf, seconds)
        after = _cyclictest(bed, seconds)
    return {
        **cell._asdict(),
        "seconds": seconds,
        **found,
        **yardstick([before, after]),
        "robot_file_changes": bed.file.changes,
    }


@contextmanager
def _hogs(bed: Bed) -> Iterator[None]:
    crew, others, parent = bed.crew, bed.cores.others, os.getpid()
    crew.start("cpu-hog", ("-m", "runtime.hog", "cpu", parent), others)
    churned = bed.folder / "churned"
    crew.start("disk-hog", ("-m", "runtime.hog", "disk", parent, churned), others)
    yield
    for name in ("disk-hog", "cpu-hog"):
        crew.stop(name)


def _quiet(bed: Bed, mjcf: Path, seconds: float) -> Json:
    robot = Robot(bed)
    robot.start(mjcf)
    robot.client.offer(FIRST, lay_out(make_bundle(robot.spec, FIRST), bed.folder / "bundle"))
    return _watch(robot, seconds, lambda elapsed_s: robot.empty_ring())


def _loaded(bed: Bed, mjcf: Path, seconds: float) -> Json:
    robot = Robot(bed)
    with serving(bed.folder / "server", robot.spec, robot.state) as server:
        server.publish(FIRST)
        robot.start(mjcf, server.endpoint)
        found = _watch(robot, seconds, Publisher(server))
        bed.crew.stop("agent")  # it sends what it still holds
        announced_ns = {v: ns for v, ns in server.announced_ns.items() if v != FIRST}
        delays = delays_s(server.rows(), announced_ns)
    return {
        **found,
        "published": len(announced_ns),
        "announce_to_active_s": percentiles(delays, "p50", "p99", "max"),
    }


class Publisher:
    """A new policy every ``SWAP_EVERY_S``; one that comes late moves no other."""

    def __init__(self, server: Server) -> None:
        self._server, self._version, self._period = server, FIRST, 0

    def __call__(self, elapsed_s: float) -> None:
        period = int(elapsed_s / SWAP_EVERY_S)
        if period > self._period:
            self._version, self._period = self._version + 1, period
            self._server.publish(self._version)


def _watch(robot: Robot, seconds: float, meanwhile: Callable[[float], None]) -> Json:
    """Let it run, first to warm up; what it counted, what its flight recorder holds."""
    robot.drive()
    _pass(WARM_UP_S, lambda elapsed_s: meanwhile(0.0))
    cpu = robot.spec.timing.cpu
    before, stolen_before_ms = robot.moving(), stolen_ms(cpu)
    _pass(seconds, meanwhile)
    after, flight, stolen_after_ms = robot.moving(), robot.flight(), stolen_ms(cpu)
    told = stolen_before_ms is not None and stolen_after_ms is not None
    return {
        **window(before, after),
        "stolen_ms": stolen_after_ms - stolen_before_ms if told else None,
        "scheduling": after.scheduling,
        "notes": after.notes,
        "mode": after.mode,
        **in_flight(flight[flight["started_ns"] >= before.at_ns]),
        "plant_realtime_factor": robot.end(),
    }


def _pass(seconds: float, meanwhile: Callable[[float], None]) -> None:
    """Let time pass, doing ``meanwhile(elapsed_s)`` now and then."""
    began_s = time.monotonic()
    while (elapsed_s := time.monotonic() - began_s) < seconds:
        meanwhile(elapsed_s)
        time.sleep(PAUSE_S)


def in_flight(rows: Rows) -> Json:
    """From the flight recorder's rows, which keep half a minute at most.

    ``sense_to_act_us`` is from the request for the joints' positions to the command having left, in
    ticks that a policy drove. ``tick_without_wait_us`` is the elapsed time of the same ticks less
    what ``read`` waited for the bus.
    """
    driven = rows[rows["driver"] == Driver.POLICY]
    waited_us = (
        driven["section_span_us"][:, Section.READ] - driven["section_work_us"][:, Section.READ]
    )
    return {
        "flight_ticks": len(rows),
        "moving_share": float(np.isin(rows["mode"], [*MOVING]).mean()) if len(rows) else None,
        "policy_ticks": len(driven),
        "sense_to_act_us": percentiles((driven["act_ns"] - driven["sense_ns"]) * 1e-3),
        "tick_without_wait_us": percentiles(driven["span_us"] - waited_us),
    }


def _cyclictest(bed: Bed, seconds: float) -> cyclictest.Latency | str:
    """Its result, or why there is none."""
    spec = bed.file.spec
    try:
        return cyclictest.measure(
            spec.control_hz,
            CYCLICTEST_SHARE * seconds,
            spec.timing.fifo_priority,
            bed.cores,
            bed.folder,
        )
    except RuntimeError as error:
        return str(error)


def yardstick(parts: list[cyclictest.Latency | str]) -> Json:
    """``cyclictest_us``; null with a reason where it could not be measured."""
    measured = [part for part in parts if not isinstance(part, str)]
    if not measured:
        return {"cyclictest_us": None, "cyclictest_reason": parts[0]}
    both = cyclictest.combined(measured)
    return {"cyclictest_us": {"max": both.max_us, "avg": both.avg_us, "cycles": both.cycles}}
