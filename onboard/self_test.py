"""The start-up self-test as a report: who is on the bus, and how long a tick's read takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onboard.bus import Bus
from onboard.control_api import Summary
from onboard.serial_port import latency_warning
from onboard.timing import Histogram
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec

READS = 200
MISSES_ALLOWED = 4
BUDGET = 0.5
"""Share of a control period that the read may take at p99."""


def self_test(spec: RobotSpec, bus: Bus, port: Path, clock_ns: Callable[[], int]) -> list[str]:
    """Check every node and time the read; moves nothing, leaves torque off.

    Returns:
        Lines to print; those that begin with "warning" need attention.

    Raises:
        BusError: the robot must not run.
    """
    nodes = bus.connect()
    lines = [
        f"{node.name}: id {node.id}, model {node.model_number}, firmware {node.firmware}, "
        f"{node.voltage_v:.1f} V, {node.temperature_c:.0f} °C"
        for node in nodes
    ]
    summary, misses = _timed(bus, clock_ns)
    kind = "fast sync read" if bus.fast else "sync read"
    lines.append(
        f"{kind}: p50 {summary.p50:.0f} µs, p99 {summary.p99:.0f} µs, {misses} of {READS} missed"
    )
    if misses > MISSES_ALLOWED:
        raise BusError(f"{misses} of {READS} reads were not answered in time; check the wiring")
    if summary.p99 > BUDGET * spec.tick_s * 1e6:
        lines.append(f"warning: the read takes more than {BUDGET:.0%} of a control period")
    warning = latency_warning(port)
    return [*lines, f"warning: {warning}"] if warning else lines


def _timed(bus: Bus, clock_ns: Callable[[], int]) -> tuple[Summary, int]:
    """Round trips of :data:`READS` reads, and how many were not answered in time."""
    times, misses = Histogram(), 0
    for _ in range(READS):
        started_ns = clock_ns()
        try:
            bus.read()
        except BusError:
            misses += 1
        times.add((clock_ns() - started_ns) * 1e-3)
    return times.summary(), misses
