"""Does the self-test judge a real line in real time, and move only when it is armed?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_server import until

from onboard.control_api import LATCH_FILE
from onboard.exit_status import Exit

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"


@pytest.fixture
def tty(tmp_path: Path) -> Iterator[Path]:
    """A plant behind a pseudo-terminal."""
    path = tmp_path / "tty"
    argv = [sys.executable, "-m", "sim_harness.main", "plant", "--robot", str(ROBOT)]
    plant = subprocess.Popen([*argv, "--link", str(path)], stdout=subprocess.DEVNULL)
    until(path.exists)
    yield path
    plant.terminate()
    plant.wait(20)


def selftest(tty: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "onboard.main", "selftest", "--robot", str(ROBOT)]
    argv += ["--port", str(tty), "--runtime", str(tty.parent / "run"), *options]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_unarmed_it_moves_nothing_and_armed_it_moves_every_motor(tty: Path) -> None:
    unarmed = selftest(tty)
    assert unarmed.returncode == Exit.DONE, unarmed.stdout + unarmed.stderr
    assert "arm encoder: at" in unarmed.stdout
    assert "motion" not in unarmed.stdout
    armed = selftest(tty, "--arm")
    assert armed.returncode == Exit.DONE, armed.stdout + armed.stderr
    assert "arm motion: " in armed.stdout
    assert "tripped on purpose: every motor stopped itself" in armed.stdout
    assert "torque off: confirmed by every motor" in armed.stdout


def test_a_latched_emergency_stop_keeps_an_armed_one_from_moving(tty: Path) -> None:
    run = tty.parent / "run"
    run.mkdir(mode=0o700)
    (run / LATCH_FILE).write_bytes(b"\1")
    armed = selftest(tty, "--arm")
    assert armed.returncode == Exit.BUS
    assert "an emergency stop is latched" in armed.stdout
    assert "the self-test failed: arm motion" in armed.stderr
