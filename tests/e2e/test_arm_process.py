"""Does the shipped runtime accept the shipped arm, over a real terminal and in real time?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROBOT = ["--robot", "hw_configs/arm5.toml"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.e2e


def test_the_self_test_command_finds_the_simulated_arm(tmp_path: Path) -> None:
    """How fast it answers is not asked: that is for a machine with nothing else to do."""
    link, python = str(tmp_path / "arm"), [sys.executable, "-m"]
    places = ["--state", str(tmp_path), "--runtime", str(tmp_path / "runtime")]
    plant = subprocess.Popen(
        [*python, "sim_harness.main", "plant", *ROBOT, "--link", link],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with plant:
        try:
            assert plant.stdout is not None
            assert "arm5/nominal" in plant.stdout.readline()
            tested = subprocess.run(
                [*python, "onboard.main", "selftest", *ROBOT, "--port", link, *places],
                cwd=ROOT,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        finally:
            plant.kill()
    for joint in ("pan", "lift", "elbow", "flex", "roll"):
        assert f"ok      {joint}: id " in tested.stdout, tested.stdout + tested.stderr
        assert f"ok      {joint} encoder: at " in tested.stdout
    assert "warning bus watchdog: these servos have none" in tested.stdout
