"""Does the shipped runtime accept the shipped arm, over a real terminal and in real time?"""

from __future__ import annotations

from pathlib import Path

import pytest
from plant_process import self_test

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_the_self_test_command_finds_the_simulated_arm(tmp_path: Path) -> None:
    """How fast it answers is not asked: that is for a machine with nothing else to do."""
    tested = self_test("arm5", tmp_path)
    for joint in ("pan", "lift", "elbow", "flex", "roll"):
        assert f"ok      {joint}: id " in tested.stdout, tested.stdout + tested.stderr
        assert f"ok      {joint} encoder: at " in tested.stdout
    assert "warning bus watchdog: these servos have none" in tested.stdout
