"""Does whatever ends an armed self-test end it with the torque off, on servos without a watchdog?

Real processes on a pseudo-terminal. A motor rests until something ends that; the servos are asked
for their torque once nobody has their line any more.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plant_process import ROOT, running_plant

from onboard.control_api import LATCH_FILE
from onboard.exit_status import Exit
from onboard.self_test_run import STAND_CLEAR
from onboard.serial_port import SerialPort
from protocol import feetech, sts3215

ROBOT = ROOT / "hw_configs" / "arm5.toml"
PATIENCE_S = 30.0
LATCHED = "ended early: an emergency stop is latched"
RESTING = "a motor rests\n"
SLOW = f"""
import signal, sys
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)  # whoever runs the tests may ignore some
from onboard import self_test
from onboard.armed_test import ArmedTest
from onboard.main import main
from protocol.errors import BusError
rest = ArmedTest._rest
def slowly(test):
    sys.stderr.write({RESTING!r})
    while True:
        try:
            rest(test)
        except BusError:
            if test._ended():
                raise
ArmedTest._rest = slowly
self_test.BUDGET, self_test.MISSES_ALLOWED = 50.0, 200
main()
"""
"""A self-test whose first motor to stand still does so for good; answers that a busy machine loses
do not end it."""
STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with the arm behind ``bus``; no self-test outlives it."""
    with running_plant("arm5", tmp_path / "bus"):
        yield tmp_path
        for process in STARTED:
            process.kill()
            process.communicate()
        STARTED.clear()


def program(place: Path, command: str, *options: str | Path) -> list[str]:
    argv = [sys.executable, "-c", SLOW, command, "--robot", ROBOT, "--runtime", place / "run"]
    return [str(word) for word in (*argv, *options)]


def moving(place: Path, *options: str, **settings: Any) -> subprocess.Popen[str]:
    """An armed self-test that has moved a motor and holds it, with the torque on."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        program(place, "selftest", "--arm", "--port", place / "bus", *options),
        text=True,
        **{**pipes, **settings},
    )
    STARTED.append(process)
    if process.stderr is not None:
        assert process.stderr.readline() == STAND_CLEAR + "\n"
        assert process.stderr.readline() == RESTING
    return process


def torque(place: Path) -> list[int]:
    """What each servo holds in its register; asking changes nothing."""
    port, parser, held = SerialPort(place / "bus", 1_000_000).open(), feetech.Parser(), []
    try:
        for node in range(1, 6):
            port.write(feetech.make_read(node, sts3215.TORQUE_ENABLE.address, 1))
            frames: list[feetech.Frame] = []
            while not any(frame.params and frame.id == node for frame in frames):
                data = port.read(2.0)
                assert data, f"servo {node} does not answer"
                frames += parser.feed(data)
            held.append(frames[-1].params[0])
    finally:
        port.close()
    return held


def test_without_its_last_words_the_torque_stays_on(place: Path) -> None:
    """So that the other tests of this file can fail."""
    process = moving(place)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert torque(place) == [1] * 5


def test_an_estop_from_the_command_line_ends_it(place: Path) -> None:
    process = moving(place)
    stop = subprocess.run(
        program(place, "estop"), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    found, told = process.communicate(timeout=PATIENCE_S)
    assert stop.returncode == Exit.AWAY
    assert "Nobody has confirmed that the torque is off" in stop.stderr
    assert process.returncode == Exit.BUS
    assert LATCHED in found
    assert "torque off: confirmed by every motor" in found
    assert "motion, ended early" in told
    assert torque(place) == [0] * 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_with_the_torque_off(place: Path, number: signal.Signals) -> None:
    process = moving(place)
    process.send_signal(number)
    found, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number
    assert f"ended early: ended by {number.name}" in found
    assert "torque off: confirmed by every motor" in found
    assert torque(place) == [0] * 5
    assert (place / "run" / LATCH_FILE).read_bytes()[0] == 0


def test_a_terminal_that_is_lost_ends_it(place: Path) -> None:
    """As a connection of ssh does that breaks."""
    master, slave = pty.openpty()
    process = moving(
        place,
        **dict.fromkeys(("stdin", "stdout", "stderr"), slave),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    seen = b""
    while RESTING.strip().encode() not in seen:
        seen += os.read(master, 4096)
    os.close(master)
    process.wait(PATIENCE_S)
    assert process.returncode > 0
    assert torque(place) == [0] * 5


def test_a_dead_mans_pipe_ends_it_and_latches(place: Path) -> None:
    process = moving(place, "--estop", "key", stdin=subprocess.PIPE)
    found, _ = process.communicate(timeout=PATIENCE_S)  # closes its standard input
    assert process.returncode == Exit.BUS
    assert LATCHED in found
    assert torque(place) == [0] * 5
    assert (place / "run" / LATCH_FILE).read_bytes()[0] == 1


def test_without_the_source_it_was_told_of_nothing_moves(place: Path) -> None:
    options = ("selftest", "--arm", "--port", place / "bus", "--estop", "gpio:/dev/null,3")
    done = subprocess.run(
        program(place, *options), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == Exit.CONFIG
    assert "gpio null line 3: cannot be taken" in done.stderr
    assert STAND_CLEAR not in done.stderr
    assert torque(place) == [0] * 5
