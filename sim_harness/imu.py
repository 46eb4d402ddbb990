"""The IMU node as the bus sees it: a node that senses an attitude instead of a shaft."""

from __future__ import annotations

from collections.abc import Mapping

from protocol import imu_node, xl330
from protocol.dynamixel_nodes import NODES
from protocol.register import Register
from sim_harness.node import Node
from sim_harness.wire_end import Attitude


class ImuNode(Node):
    """See :class:`sim_harness.node.Node`."""

    def __init__(self, node_id: int, initial: Mapping[Register, int]) -> None:
        super().__init__(node_id, NODES["imu-6axis"], initial)
        self._attitude: Attitude | None = None

    def feel(self, attitude: Attitude) -> None:
        """Refresh the present values."""
        self._attitude = attitude
        for register, value in (
            *zip(imu_node.GRAVITY, attitude.gravity, strict=True),
            *zip(imu_node.TURN_RATE, attitude.turn_rate_rad_s, strict=True),
        ):
            count = round(value / register.unit)
            self.table.put(register, min(max(count, register.minimum), register.maximum))
        self.table.put(xl330.PRESENT_VOLTAGE, round(attitude.voltage_v / xl330.VOLT_PER_COUNT))
        self.table.put(xl330.PRESENT_TEMPERATURE, round(attitude.temperature_c))

    def refresh(self) -> None:
        """After a restart the sensors show at once what they showed before."""
        if self._attitude is not None:
            self.feel(self._attitude)
