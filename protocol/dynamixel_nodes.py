"""The models of node that may stand on a Dynamixel bus, as data."""

from __future__ import annotations

from typing import Literal, NamedTuple

from protocol import imu_node, xl330, xl430
from protocol.register import Register

FAST_SYNC_READ_FIRMWARE = 46
"""First XL330 firmware that answers a fast sync read; taken for all, and tried before use."""


class NodeModel(NamedTuple):
    """What is known of a model.

    Attributes:
        number: what its register 0 says.
        registers: its control table.
        mode: how its motor is driven here; None without a motor.
        ampere: what a count of its present current, or load, is.
    """

    number: int
    registers: tuple[Register, ...]
    mode: Literal["current", "position"] | None = None
    ampere: float = 0.0


NODES = {
    "xl330-m288": NodeModel(1200, xl330.XL330, "current", xl330.AMPERE_PER_COUNT),
    "xl430-w250": NodeModel(1060, xl430.XL430, "position", xl430.AMPERE_PER_COUNT),
    "encoder-12bit": NodeModel(31_012, xl330.ENCODER),
    "imu-6axis": NodeModel(imu_node.MODEL_NUMBER_IMU, imu_node.IMU),
}
"""By the name they have in a robot file; 31012 is ours, outside the numbers ROBOTIS uses."""
