"""Does our driver work with the C that we ship, over a pseudo terminal, in real time?"""

from __future__ import annotations

import os
import pty
import subprocess
import time
import tty
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from made_mcu import build_board, load_mcu_robot

from onboard.bus import TRIPPED, Fact
from onboard.mcu_bus import McuBus
from onboard.serial_port import SerialPort

DEADLINE_S = 1.0
"""So long that a busy machine does not trip it by itself."""
READ_TIMEOUT_S = 0.5

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board(tmp_path_factory.mktemp("board"))


@pytest.fixture
def bus(program: Path) -> Iterator[McuBus]:
    shipped = load_mcu_robot()
    timing = msgspec.structs.replace(
        shipped.bus, watchdog_s=DEADLINE_S, read_timeout_s=READ_TIMEOUT_S
    )
    spec = msgspec.structs.replace(shipped, bus=timing)
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = Path(os.ttyname(slave))
    board = subprocess.Popen([program, str(master)], pass_fds=[master])
    os.close(master)
    driver = McuBus(spec, partial(SerialPort(path, spec.bus.baud).open), time.monotonic)
    try:
        yield driver
    finally:
        driver.close()
        board.kill()
        board.wait()
        os.close(slave)


def test_the_board_is_known_driven_and_switched_off(bus: McuBus) -> None:
    nodes = bus.connect()
    assert [(node.model_number, node.firmware, node.voltage_v) for node in nodes] == [
        (7, 102, 5.0),
        (7, 102, 5.0),
    ]
    bus.power_on()
    deadline_s = time.monotonic() + 20 * DEADLINE_S
    while bus.position_rad[0] < 0.01:
        assert time.monotonic() < deadline_s
        bus.write([0.5])
        bus.read()
    assert bus.velocity_rad_s[0] > 0.0
    assert bus.current_a[0] == pytest.approx(0.5)
    assert [check.value for check in bus.check_all(Fact.GOAL)] == [500]
    assert bus.power_off() == []


def test_a_missed_deadline_brakes_and_latches_in_the_board_itself(bus: McuBus) -> None:
    bus.connect()
    bus.power_on()
    bus.write([0.5])
    deadline_s = time.monotonic() + 20 * DEADLINE_S
    while bus.check_all(Fact.WATCHDOG)[0].value != TRIPPED:
        assert time.monotonic() < deadline_s
    assert bus.velocity_rad_s[0] > 0.0
    bus.write([0.5])
    while bus.velocity_rad_s[0] > 1.0:  # the goal is ignored, the flywheel damped
        assert time.monotonic() < deadline_s
        bus.read()
    assert bus.current_a[0] <= 0.0
    assert bus.check_all(Fact.WATCHDOG)[0].value == TRIPPED
    bus.power_on()
    assert bus.check_all(Fact.WATCHDOG)[0].value == pytest.approx(DEADLINE_S)
