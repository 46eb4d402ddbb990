"""The driver that a robot file asks for."""

from __future__ import annotations

from collections.abc import Callable

from onboard.bus import Bus
from onboard.dynamixel_bus import DynamixelBus
from onboard.feetech_bus import FeetechBus
from onboard.mcu_bus import McuBus
from onboard.serial_port import Port
from protocol.robot_spec import RobotSpec


def bus_for(spec: RobotSpec, open_port: Callable[[], Port], clock_s: Callable[[], float]) -> Bus:
    """The driver of ``spec``'s kind of bus, not yet connected.

    Args:
        spec: the robot.
        open_port: takes the line; called at every connect.
        clock_s: monotonic time.
    """
    if spec.bus.kind == "mcu":
        return McuBus(spec, open_port, clock_s)
    if spec.bus.kind == "feetech":
        return FeetechBus(spec, open_port, clock_s)
    return DynamixelBus(spec, open_port, clock_s)
