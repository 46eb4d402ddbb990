"""The start-up self-test as a report: who is on the bus, how fast it answers, what its sensors say.

Nothing here moves a motor; :mod:`onboard.armed_test` does, when told to.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from onboard.bus import Bus, Node, out_of_range, watchdog_count
from onboard.control_api import Summary
from onboard.encoder_check import EncoderCheck
from onboard.timing import Histogram
from protocol import xl330
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec

READS = 200
MISSES_ALLOWED = 4
BUDGET = 0.5
"""Share of a control period that the read may take at p99."""


class Verdict(str, Enum):
    """What came of a check. A robot with a failed one must not run."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


class Finding(NamedTuple):
    """One check and what came of it."""

    verdict: Verdict
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.verdict.value:8}{self.what}: {self.detail}"


def judged(what: str, problem: str | None, detail: str) -> Finding:
    """A finding that fails if there is a ``problem``, and else says ``detail``."""
    return Finding(Verdict.FAILED if problem else Verdict.OK, what, problem or detail)


def self_test(
    spec: RobotSpec,
    bus: Bus,
    clock_ns: Callable[[], int],
    latency: str | None = None,
) -> list[Finding]:
    """Check every node, the bus's timing and the sensors; moves nothing, leaves torque off.

    Args:
        spec: the robot.
        bus: not yet connected; the caller closes it.
        clock_ns: monotonic time.
        latency: what is wrong with the adapter's latency timer, if anything.

    Returns:
        Every finding; the first alone if the bus cannot be set up.
    """
    try:
        nodes = bus.connect()
    except BusError as error:
        return [Finding(Verdict.FAILED, "bus", str(error))]
    return [
        *(_node(spec, node) for node in nodes),
        _firmware(bus, nodes),
        _return_delay(bus),
        _watchdog(spec, bus),
        judged("adapter", latency, "no latency timer, or one of 1 ms"),
        *_readings(spec, bus, clock_ns),
    ]


def _node(spec: RobotSpec, node: Node) -> Finding:
    problem = out_of_range(spec, node.voltage_v, node.temperature_c)
    return judged(
        node.name,
        problem,
        f"id {node.id}, model {node.model_number}, firmware {node.firmware}, "
        f"{node.voltage_v:.1f} V, {node.temperature_c:.0f} °C",
    )


def _firmware(bus: Bus, nodes: list[Node]) -> Finding:
    """Old firmware works, more slowly."""
    oldest = min(node.firmware for node in nodes)
    if bus.fast:
        return Finding(Verdict.OK, "firmware", f"{oldest} or newer: one packet answers for all")
    needed = xl330.FAST_SYNC_READ_FIRMWARE
    detail = f"{oldest} is older than {needed}: every node answers for itself; update it"
    return Finding(Verdict.WARNING, "firmware", detail)


def _return_delay(bus: Bus) -> Finding:
    what = xl330.RETURN_DELAY.name
    try:
        slow = [check for check in bus.check_nodes(xl330.RETURN_DELAY) if check.value]
    except BusError as error:
        return Finding(Verdict.FAILED, what, str(error))
    told = [
        f"{check.joint.name} waits {check.value * xl330.RETURN_DELAY.unit * 1e6:.0f} µs"
        for check in slow
    ]
    return judged(what, ", ".join(told), "0 µs on every node")


def _watchdog(spec: RobotSpec, bus: Bus) -> Finding:
    armed = watchdog_count(spec)
    try:
        checks = bus.check_motors(xl330.BUS_WATCHDOG)
    except BusError as error:
        return Finding(Verdict.FAILED, xl330.BUS_WATCHDOG.name, str(error))
    wrong = [f"{c.joint.name} holds {c.value}, not {armed}" for c in checks if c.value != armed]
    armed_ms = armed * xl330.WATCHDOG_S_PER_COUNT * 1e3
    return judged(xl330.BUS_WATCHDOG.name, ", ".join(wrong), f"{armed_ms:.0f} ms in every motor")


def _readings(spec: RobotSpec, bus: Bus, clock_ns: Callable[[], int]) -> list[Finding]:
    """Read :data:`READS` times: how long it takes, and whether the numbers can be true."""
    times, misses = Histogram(), 0
    encoders = [EncoderCheck(joint) for joint in spec.joints]
    for _ in range(READS):
        started_ns = clock_ns()
        try:
            bus.read()
        except BusError:
            misses += 1
        else:
            for index, encoder in enumerate(encoders):
                encoder.add(started_ns * 1e-9, bus.position_rad[index], bus.velocity_rad_s[index])
        times.add((clock_ns() - started_ns) * 1e-3)
    return [
        _round_trip(spec, bus, times.summary(), misses),
        *(judged(f"{each.name} encoder", each.problem, each.summary) for each in encoders),
    ]


def _round_trip(spec: RobotSpec, bus: Bus, summary: Summary, misses: int) -> Finding:
    problem, budget_us = None, BUDGET * spec.tick_s * 1e6
    took = f"p50 {summary.p50:.0f} µs, p99 {summary.p99:.0f} µs, {misses} of {READS} missed"
    if misses > MISSES_ALLOWED:
        problem = f"{took}; at most {MISSES_ALLOWED} may be: check the wiring"
    elif summary.p99 > budget_us:
        problem = f"{took}; p99 may take {budget_us:.0f} µs, {BUDGET:.0%} of a control period"
    return judged("fast sync read" if bus.fast else "sync read", problem, took)
