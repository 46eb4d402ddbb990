"""The motor bus seen from its host: instruction bytes in, answers out. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import UNSET

from protocol.robot_spec import RobotSpec
from sim_harness.dynamixel_firmware import dynamixel_nodes
from sim_harness.feetech_firmware import feetech_nodes
from sim_harness.mcu_firmware import mcu_board
from sim_harness.wire_end import Attitude, Demand, Reading, Reply


class Firmware(Protocol):
    """All nodes of one bus.

    Attributes:
        absent: ids of nodes that neither hear nor answer, as if their cable were out.
    """

    absent: set[int]

    @property
    def frames(self) -> int:
        """Valid instruction packets seen."""
        ...

    @property
    def crc_errors(self) -> int:
        """Packets ignored because their checksum was wrong."""
        ...

    def demands(self, now_ns: int) -> Sequence[Demand]:
        """What each node asks of its motor at ``now_ns``, in bus order; 0 where there is none."""
        ...

    def restart(self, node_id: int) -> None:
        """What a power cycle does to a node."""

    def sense(self, readings: Sequence[Reading]) -> None:
        """Give every joint's node, in bus order, what its sensors see."""

    def feel(self, attitude: Attitude) -> None:
        """Give the IMU, if there is one, what it feels."""

    def receive(self, data: bytes, now_ns: int) -> list[Reply]:
        """Take bytes from the host; return the answers in the order they go on the wire."""
        ...


def firmware_for(spec: RobotSpec) -> Firmware:
    """Factory-new nodes with the ids and the baud rate of ``spec``, in the order of its joints.

    Raises:
        ConfigError: no such node can speak the bus's baud rate, or an actuated joint has no motor.
    """
    if spec.bus.kind == "mcu":
        return mcu_board(spec.joints)
    if spec.bus.kind == "feetech":
        return feetech_nodes(spec.joints, spec.bus.baud)
    imu = None if spec.imu is UNSET else spec.imu
    return dynamixel_nodes(spec.joints, imu, spec.bus.baud)
