"""Composition of ``wombet-onboard selftest``: the checks on a real line, in real time."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from onboard.armed_test import ArmedTest
from onboard.bus_choice import bus_for
from onboard.control_api import LATCH_FILE
from onboard.estop_latch import EstopLatch, map_latch
from onboard.finding import Finding, Verdict
from onboard.safety import Safety
from onboard.schedule import Schedule
from onboard.self_test import self_test
from onboard.serial_port import SerialPort, latency_warning
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec


def run_self_test(spec: RobotSpec, port: Path, runtime: Path, arm: bool) -> int:
    """Print every finding as it comes.

    Args:
        spec: the robot.
        port: serial device of the motor bus; control must not be running.
        runtime: directory on tmpfs in which a latched emergency stop is remembered.
        arm: move every motor a little, if all else is well.

    Returns:
        Exit status 0.

    Raises:
        BusError: the robot must not run.
    """
    bus = bus_for(spec, lambda: SerialPort(port, spec.bus.baud).open(), time.monotonic)
    with closing(bus), closing(map_latch(runtime / LATCH_FILE)) as memory:
        findings = self_test(spec, bus, time.monotonic_ns, latency_warning(port))
        _print(findings)
        if arm and not _failed(findings):
            safety = Safety(spec, bus, EstopLatch(memory))
            schedule = Schedule(round(1e9 * spec.tick_s), time.monotonic_ns, time.sleep)
            moved = ArmedTest(spec, bus, safety, schedule, time.sleep).run()
            _print(moved)
            findings += moved
    if failed := _failed(findings):
        raise BusError(f"the self-test failed: {', '.join(finding.what for finding in failed)}")
    return 0


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        print(finding, flush=True)


def _failed(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is Verdict.FAILED]
