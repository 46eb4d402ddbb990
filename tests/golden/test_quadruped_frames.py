"""Are the walker's two packets of a tick, byte for byte, what they were when it was designed?"""

from __future__ import annotations

from made_quadruped import load_quadruped

from onboard.dynamixel_bus import DynamixelBus
from protocol import dynamixel as dxl
from protocol import imu_node, xl330

SPEC = load_quadruped()
QUESTION = "FF FF FD 00 FE 14 00 8A 7C 00 0C 00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D"
"""Fast sync read of 12 bytes from 124 of nodes 1 to 13, without its CRC."""
ORDER = "FF FF FD 00 FE 43 00 83 74 00 04 00"
"""Sync write of 4 bytes at 116, as far as the first node."""


class Listener:
    """A line that hears and says nothing."""

    def __init__(self) -> None:
        self.heard = b""

    def write(self, data: bytes) -> None:
        self.heard += data

    def read(self, timeout_s: float) -> bytes:
        return b""

    def discard_input(self) -> None:
        """Nothing to discard."""

    def close(self) -> None:
        """Nothing to close."""


def test_the_question_names_every_node_once() -> None:
    ids = [*range(1, 14)]
    packet = dxl.make_fast_sync_read(imu_node.GRAVITY_X.address, imu_node.PRESENT.size, ids)
    assert packet[:-2] == bytes.fromhex(QUESTION)
    assert imu_node.GRAVITY_X.address == xl330.PRESENT_PWM.address == 124


def test_the_order_is_a_goal_position_for_every_servo() -> None:
    line = Listener()
    bus = DynamixelBus(SPEC, lambda: line, lambda: 0.0)
    bus._line.open()
    bus.write([0.0] * 11 + [1.0])
    assert line.heard.startswith(bytes.fromhex(ORDER))
    goals = line.heard[12:-2]
    assert goals[:5] == bytes.fromhex("01 00 08 00 00"), "the encoder's centre"
    assert goals[-5:] == bytes.fromhex("0C 8C 0A 00 00"), "2048 + 652 counts"
    assert len(goals) == 12 * 5
