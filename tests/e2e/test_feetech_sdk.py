"""Feetech's own SDK talks to ``wombet-sim plant`` as it would to servos on a USB adapter."""

import time

import pytest
from plant_process import Patience, running_plant
from scservo_sdk import (
    COMM_RX_TIMEOUT,
    COMM_SUCCESS,
    GroupSyncRead,
    GroupSyncWrite,
    PacketHandler,
    PortHandler,
)

SERVOS = range(1, 6)
TORQUE_ENABLE, GOAL_POSITION, TORQUE_LIMIT = 40, 42, 48
PRESENT_POSITION, PRESENT_VOLTAGE, PRESENT_TEMPERATURE = 56, 62, 63
PAN, ROLL = 1, 5
LITTLE_ENDIAN = 0

pytestmark = pytest.mark.e2e


class PatientPort(Patience, PortHandler):
    """The SDK's own, with time to spare."""


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    link = tmp_path_factory.mktemp("plant") / "arm"
    with running_plant("arm5", link):
        yield link


@pytest.fixture
def sdk():
    return PacketHandler(LITTLE_ENDIAN)


@pytest.fixture
def port(plant, sdk):
    handler = PatientPort(str(plant))
    assert handler.setBaudRate(1_000_000)
    yield handler
    for node in SERVOS:
        sdk.write1ByteTxRx(handler, node, TORQUE_ENABLE, 0)
    handler.closePort()


@pytest.fixture
def positions(port, sdk):
    """A sync read of all servos' positions and speeds."""
    group = GroupSyncRead(port, sdk, PRESENT_POSITION, 4)
    for node in SERVOS:
        assert group.addParam(node)
    return group


def where(positions, node):
    assert positions.txRxPacket() == COMM_SUCCESS
    assert positions.isAvailable(node, PRESENT_POSITION, 2)
    return positions.getData(node, PRESENT_POSITION, 2)


def test_it_pings_every_servo_and_nobody_else(port, sdk):
    for node in SERVOS:
        assert sdk.ping(port, node) == (777, COMM_SUCCESS, 0)
    assert sdk.ping(port, 9)[1] == COMM_RX_TIMEOUT


def test_it_reads_registers_of_either_size(port, sdk):
    assert sdk.read1ByteTxRx(port, PAN, PRESENT_VOLTAGE) == (74, COMM_SUCCESS, 0)
    assert sdk.read1ByteTxRx(port, PAN, PRESENT_TEMPERATURE) == (30, COMM_SUCCESS, 0)
    position, result, error = sdk.read2ByteTxRx(port, PAN, PRESENT_POSITION)
    assert (result, error) == (COMM_SUCCESS, 0)
    assert position == pytest.approx(2048, abs=100)


def test_it_sync_reads_all_servos_at_once(positions):
    counts = [where(positions, node) for node in SERVOS]
    assert all(800 < count < 3300 for count in counts)


def test_what_it_writes_it_reads_back(port, sdk):
    assert sdk.write2ByteTxRx(port, ROLL, TORQUE_LIMIT, 321) == (COMM_SUCCESS, 0)
    assert sdk.read2ByteTxRx(port, ROLL, TORQUE_LIMIT) == (321, COMM_SUCCESS, 0)
    assert sdk.write2ByteTxRx(port, ROLL, TORQUE_LIMIT, 1000) == (COMM_SUCCESS, 0)


def test_its_sync_write_moves_the_servos_that_have_torque(port, sdk, positions):
    before = {node: where(positions, node) for node in (PAN, ROLL)}
    goals = GroupSyncWrite(port, sdk, GOAL_POSITION, 2)
    for node in SERVOS:
        there = where(positions, node)
        goal = before[node] + 150 if node in before else there
        assert goals.addParam(node, list(goal.to_bytes(2, "little")))
    assert sdk.write1ByteTxRx(port, ROLL, TORQUE_ENABLE, 1) == (COMM_SUCCESS, 0)
    goals.txPacket()
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        if where(positions, ROLL) > before[ROLL] + 130:
            assert where(positions, PAN) == pytest.approx(before[PAN], abs=60)
            return
    pytest.fail("the roll did not move")
