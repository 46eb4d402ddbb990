"""What the start-up self-test should know of a Dynamixel bus: one finding each, nothing moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onboard.bus import Named, Node
from onboard.finding import Finding, Verdict, judged
from protocol import xl330
from protocol.dynamixel_nodes import FAST_SYNC_READ_FIRMWARE
from protocol.errors import BusError
from protocol.register import Register

Peek = Callable[[Named, Register], int]
"""Value of a node's register. Raises BusError."""


def audit_firmware(nodes: Sequence[Node], fast: bool) -> Finding:
    """Without a fast sync read everything works, more slowly."""
    oldest = min(node.firmware for node in nodes)
    if fast:
        return Finding(Verdict.OK, "firmware", f"{oldest} or newer: one packet answers for all")
    if oldest >= FAST_SYNC_READ_FIRMWARE:
        detail = f"{oldest} or newer, but nobody answers a fast sync read: every node for itself"
    else:
        older = f"{oldest} is older than {FAST_SYNC_READ_FIRMWARE}"
        detail = f"{older}: every node answers for itself; update it"
    return Finding(Verdict.WARNING, "firmware", detail)


def audit_return_delay(nodes: Sequence[Named], peek: Peek) -> Finding:
    """No node waits before it answers."""
    register = xl330.RETURN_DELAY
    try:
        waits = [(node, peek(node, register)) for node in nodes]
    except BusError as error:
        return Finding(Verdict.FAILED, register.name, str(error))
    told = [f"{node.name} waits {n * register.unit * 1e6:.0f} µs" for node, n in waits if n]
    return judged(register.name, ", ".join(told), "0 µs on every node")


def audit_watchdog(motors: Sequence[Named], peek: Peek, armed: int) -> Finding:
    """Every motor's own watchdog holds ``armed`` counts."""
    register = xl330.BUS_WATCHDOG
    try:
        held = [(motor, peek(motor, register)) for motor in motors]
    except BusError as error:
        return Finding(Verdict.FAILED, register.name, str(error))
    wrong = [f"{motor.name} holds {n}, not {armed}" for motor, n in held if n != armed]
    detail = f"{armed * xl330.WATCHDOG_S_PER_COUNT * 1e3:.0f} ms in every motor"
    return judged(register.name, ", ".join(wrong), detail)


def audit_imu(inertial: Sequence[float]) -> Finding:
    """What an IMU feels, (6,) as in :attr:`onboard.bus.Bus.inertial`, for a person to compare."""
    x, y, z, *turn = inertial
    told = f"down is ({x:+.2f}, {y:+.2f}, {z:+.2f}), turning at {math.hypot(*turn):.2f} rad/s"
    return Finding(Verdict.OK, "imu", told)
