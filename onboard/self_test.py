"""The start-up self-test as a report: who is on the bus, how fast it answers, what its sensors say.

Nothing here moves a motor; :mod:`onboard.armed_test` does, when told to.
"""

from __future__ import annotations

from collections.abc import Callable

from onboard.bus import Bus, Node, out_of_range
from onboard.control_api import Summary
from onboard.encoder_check import EncoderCheck
from onboard.finding import Finding, Verdict, judged
from onboard.timing import Histogram
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec

READS = 200
MISSES_ALLOWED = 4
BUDGET = 0.5
"""Share of a control period that the read may take at p99."""


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
        *bus.audit(nodes),
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
    return judged(bus.read_name, problem, took)
