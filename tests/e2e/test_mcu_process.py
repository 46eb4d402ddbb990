"""Does the shipped runtime accept the shipped board, emulated over a real terminal in real time?"""

from __future__ import annotations

from pathlib import Path

import pytest
from plant_process import self_test

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_the_armed_self_test_passes_on_the_emulated_board(tmp_path: Path) -> None:
    tested = self_test("furuta_mcu", tmp_path, "--arm")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "every motor stopped itself" in tested.stdout
    assert "40 ms, in every command" in tested.stdout
