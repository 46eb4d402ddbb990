"""Does the shipped runtime accept the shipped board, emulated over a real terminal in real time?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROBOT = ["--robot", "hw_configs/furuta_mcu.toml"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.e2e


def test_the_armed_self_test_passes_on_the_emulated_board(tmp_path: Path) -> None:
    link, python = str(tmp_path / "board"), [sys.executable, "-m"]
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
            assert "furuta_mcu/nominal" in plant.stdout.readline()
            tested = subprocess.run(
                [*python, "onboard.main", "selftest", *ROBOT, "--port", link, "--arm", *places],
                cwd=ROOT,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        finally:
            plant.kill()
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "every motor stopped itself" in tested.stdout
    assert "40 ms, in every command" in tested.stdout
