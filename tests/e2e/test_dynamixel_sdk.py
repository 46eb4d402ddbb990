"""ROBOTIS' own SDK talks to ``wombet-sim plant`` as it would to motors on a USB adapter."""

import json
import signal
import time
from contextlib import contextmanager

import pytest
from dynamixel_sdk import (
    COMM_RX_TIMEOUT,
    COMM_SUCCESS,
    GroupSyncRead,
    GroupSyncWrite,
    PacketHandler,
    PortHandler,
)
from plant_process import Patience, running_plant

ARM, PENDULUM = 1, 2
OPERATING_MODE, TORQUE_ENABLE, BUS_WATCHDOG, GOAL_CURRENT = 11, 64, 98, 102
PRESENT_CURRENT, PRESENT_POSITION, POSITION_OFFSET = 126, 132, 6
ACCESS_ERROR, RANGE_ERROR = 7, 4

pytestmark = pytest.mark.e2e


class PatientPort(Patience, PortHandler):
    """The SDK's own, with time to spare."""


@contextmanager
def opened(link):
    """The SDK's port, open on ``link``."""
    handler = PatientPort(str(link))
    assert handler.setBaudRate(1_000_000)
    try:
        yield handler
    finally:
        handler.closePort()


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    link = tmp_path_factory.mktemp("plant") / "dxl"
    with running_plant("furuta", link):
        yield link


@pytest.fixture
def port(plant, sdk):
    with opened(plant) as handler:
        yield handler
        sdk.write1ByteTxRx(handler, ARM, TORQUE_ENABLE, 0)
        sdk.write1ByteTxRx(handler, ARM, BUS_WATCHDOG, 0)


@pytest.fixture
def sdk():
    return PacketHandler(2.0)


@pytest.fixture
def positions(port, sdk):
    """A sync read of current, velocity and position of both nodes."""
    group = GroupSyncRead(port, sdk, PRESENT_CURRENT, 10)
    assert group.addParam(ARM)
    assert group.addParam(PENDULUM)
    return group


def enable_current_mode(port, sdk):
    for address, value in ((OPERATING_MODE, 0), (TORQUE_ENABLE, 1)):
        assert sdk.write1ByteTxRx(port, ARM, address, value) == (COMM_SUCCESS, 0)


def test_it_pings_both_nodes_and_nobody_else(port, sdk):
    assert sdk.ping(port, ARM) == (1200, COMM_SUCCESS, 0)
    assert sdk.ping(port, PENDULUM) == (31012, COMM_SUCCESS, 0)
    assert sdk.ping(port, 7)[1] == COMM_RX_TIMEOUT
    found, result = sdk.broadcastPing(port)
    assert result == COMM_SUCCESS
    assert sorted(found) == [ARM, PENDULUM]


def test_it_reads_registers_of_every_size(port, sdk):
    assert sdk.read1ByteTxRx(port, ARM, 146) == (30, COMM_SUCCESS, 0)
    assert sdk.read2ByteTxRx(port, ARM, 144) == (50, COMM_SUCCESS, 0)
    position, result, error = sdk.read4ByteTxRx(port, PENDULUM, PRESENT_POSITION)
    assert (result, error) == (COMM_SUCCESS, 0)
    assert position == pytest.approx(2048, abs=100)


@pytest.mark.parametrize("read", ["txRxPacket", "fastSyncRead"])
def test_it_sync_reads_servo_and_encoder_at_once(positions, read):
    assert getattr(positions, read)() == COMM_SUCCESS
    for node in (ARM, PENDULUM):
        assert positions.isAvailable(node, PRESENT_POSITION, 4)
        assert positions.getData(node, PRESENT_POSITION, 4) == pytest.approx(2048, abs=100)


def test_its_sync_write_moves_the_arm(port, sdk, positions):
    positions.txRxPacket()
    before = positions.getData(ARM, PRESENT_POSITION, 4)
    enable_current_mode(port, sdk)
    goals = GroupSyncWrite(port, sdk, GOAL_CURRENT, 2)
    assert goals.addParam(ARM, (300).to_bytes(2, "little"))
    assert goals.txPacket() == COMM_SUCCESS
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        assert positions.txRxPacket() == COMM_SUCCESS
        if positions.getData(ARM, PRESENT_POSITION, 4) > before + 100:
            return
    pytest.fail("the arm did not move")


def test_it_is_told_why_a_write_is_refused(port, sdk):
    enable_current_mode(port, sdk)
    assert sdk.write1ByteTxRx(port, ARM, OPERATING_MODE, 3) == (COMM_SUCCESS, ACCESS_ERROR)
    assert sdk.write1ByteTxRx(port, ARM, TORQUE_ENABLE, 9) == (COMM_SUCCESS, RANGE_ERROR)


def test_its_silence_trips_the_watchdog(port, sdk):
    enable_current_mode(port, sdk)
    assert sdk.write1ByteTxRx(port, ARM, BUS_WATCHDOG, 1) == (COMM_SUCCESS, 0)
    deadline = time.monotonic() + 5.0
    state = 1
    while state == 1 and time.monotonic() < deadline:
        time.sleep(0.03)
        state, result, _ = sdk.read1ByteTxRx(port, ARM, BUS_WATCHDOG)
        assert result == COMM_SUCCESS
    assert state == 255
    assert sdk.write2ByteTxRx(port, ARM, GOAL_CURRENT, 100) == (COMM_SUCCESS, RANGE_ERROR)


def test_sigterm_ends_it_cleanly_with_its_numbers(sdk, tmp_path):
    link = tmp_path / "dxl"
    with running_plant("furuta", link, "--stats", tmp_path / "s") as process:
        with opened(link) as port:
            for _ in range(5):
                assert sdk.ping(port, ARM)[1] == COMM_SUCCESS
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert not link.is_symlink()
    numbers = json.loads((tmp_path / "s").read_text())
    assert numbers["frames"] == 5
    assert numbers["crc_errors"] == 0
    behind_s = numbers["elapsed_s"] - numbers["simulated_s"]
    assert behind_s == pytest.approx(numbers["lost_ms"] / 1000, abs=0.06)
