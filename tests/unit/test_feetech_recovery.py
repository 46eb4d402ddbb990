"""What a bad wire does to a Feetech bus costs one answer, never a wrong motion."""

from __future__ import annotations

from typing import Any

import pytest
from made_arm import load_arm, make_arm_port, servo

from onboard.feetech_bus import FeetechBus
from protocol import feetech, sts3215
from protocol.errors import BusError

NODES = range(1, 6)
TOO_LONG = feetech.HEADER + b"\xfe\xfe"
"""A packet to all whose id came twice: the servos wait for 254 bytes more."""


class LossyPort:
    """A port in front of another one; the packets that ``lose`` picks never arrive."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.lose = lambda packet: False

    def write(self, data: bytes) -> None:
        if not self.lose(data):
            self._port.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


@pytest.fixture
def port() -> LossyPort:
    return LossyPort(make_arm_port(load_arm()))


@pytest.fixture
def bus(port: LossyPort) -> FeetechBus:
    bus = FeetechBus(load_arm(), lambda: port, port.clock.now_s)
    bus.connect()
    return bus


def tables(port: Any, register: Any) -> list[int]:
    return [servo(port, node).table.get(register) for node in NODES]


def is_order(packet: bytes) -> bool:
    """A sync write of goals and limits."""
    return packet[4:6] == bytes((feetech.Instruction.SYNC_WRITE, sts3215.ACCELERATION.address))


@pytest.mark.parametrize("rest", [TOO_LONG, b"\xff\xff\x01\xfa\x02"])
def test_a_packet_that_seems_longer_than_it_is_costs_one_reading(
    bus: FeetechBus, port: LossyPort, rest: bytes
) -> None:
    port.rig.receive(rest, port.clock.ns)
    with pytest.raises(BusError, match="0 of 5 answers"):
        bus.read()
    bus.read()


def test_without_padding_the_servos_would_stay_deaf(bus: FeetechBus, port: LossyPort) -> None:
    """Otherwise the test above shows nothing."""
    port.lose = lambda packet: packet == feetech.PADDING
    port.rig.receive(TOO_LONG, port.clock.ns)
    for _ in range(5):
        with pytest.raises(BusError, match="0 of 5 answers"):
            bus.read()


@pytest.mark.parametrize("stuck", [False, True])
def test_a_cut_after_a_miss_is_the_first_on_the_line_and_heard(
    bus: FeetechBus, port: LossyPort, stuck: bool
) -> None:
    """The padding, 2.6 ms of it, comes behind; the servo that needs it hears the next one."""
    bus.power_on()
    port._port.mute = True
    port.rig.receive(TOO_LONG if stuck else b"", port.clock.ns)
    with pytest.raises(BusError, match="0 of 5 answers"):
        bus.read()
    port.written.clear()
    bus.cut()
    cut = port.written[0]
    assert port.written == [cut, feetech.PADDING, cut]
    assert tables(port, sts3215.TORQUE_ENABLE) == [0] * 5
    bus.cut()
    assert port.written[3:] == [cut], "padded once for each miss"


def test_a_goal_after_a_miss_is_heard_by_a_servo_that_waits_for_more(
    bus: FeetechBus, port: LossyPort
) -> None:
    bus.power_on()
    port.rig.receive(TOO_LONG, port.clock.ns)
    with pytest.raises(BusError, match="0 of 5 answers"):
        bus.read()
    bus.write([0.01] * 5)
    assert tables(port, sts3215.GOAL_POSITION) == [2048 + round(0.01 / sts3215.RAD_PER_COUNT)] * 5


def test_padding_moves_nothing(bus: FeetechBus, port: LossyPort) -> None:
    bus.power_on()
    before = [bytes(servo(port, node).table._bytes) for node in NODES]
    port.rig.receive(feetech.PADDING, port.clock.ns)
    assert [bytes(servo(port, node).table._bytes) for node in NODES] == before


def test_torque_comes_on_although_a_packet_was_lost(bus: FeetechBus, port: LossyPort) -> None:
    lost = iter([True])
    port.lose = lambda packet: is_order(packet) and next(lost, False)
    bus.power_on()
    assert tables(port, sts3215.TORQUE_ENABLE) == [1] * 5
    assert tables(port, sts3215.GOAL_POSITION) == bus.position_count


def test_a_servo_that_did_not_hear_its_goal_gets_no_torque(
    bus: FeetechBus, port: LossyPort
) -> None:
    """It would go to whatever goal it had before."""
    port.lose = is_order
    with pytest.raises(BusError, match=r"node 1 \(pan\) did not take its goal and limits"):
        bus.power_on()
    assert tables(port, sts3215.TORQUE_ENABLE) == [0] * 5
