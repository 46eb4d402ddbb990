"""Does the shipped runtime drive the shipped arm and board, over real terminals in real time?"""

from __future__ import annotations

from pathlib import Path

import pytest
from hil_process import run_hil

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_the_arm_is_driven_for_four_seconds_and_stopped(tmp_path: Path) -> None:
    """The real processes; that nothing else happens is what the scenarios ask."""
    ran = run_hil("arm5", tmp_path / "out", "--only", "calm", "operator_stop")
    assert ran.summary["passed"] == 2


def test_the_board_is_driven_and_stopped_and_brakes_in_silence(tmp_path: Path) -> None:
    """The real processes; a busy machine may cost these 40 ms a HOLD, which neither forbids."""
    ran = run_hil("furuta_mcu", tmp_path / "out", "--only", "operator_stop", "silent_wire")
    assert ran.summary["passed"] == 2
