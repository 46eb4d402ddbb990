"""The scenarios that need no processes, in simulated time: the onboard code must pass them all.

Every one of them on the flagship, and on the others those in which their buses, motors or sensors
make a difference; ``make test-lock-step`` runs all on all.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_rig import ROBOT
from made_trial import LockStep, held

FURUTA = [("furuta", scenario.name) for scenario in held("furuta")]
BUS = ("silent_for_three_ticks", "bytes_doubled", "answers_cut_in_half", "motor_reboots")
HOLDING = ("silent_wire_held", "silent_wire_while_homing_held", "terrible_wire_held")
PLUGGED = ("adapter_unplugged_held", "adapter_back_lets_go", "answers_too_late_held")
OTHERS = [
    *(("furuta_mcu", name) for name in (*BUS, "silent_wire", "motor_overloaded")),
    *(("arm5", name) for name in (*BUS, *HOLDING, *PLUGGED, "adapter_back_cleared_and_up_again")),
]


@pytest.mark.parametrize(("robot", "name"), [*FURUTA, *OTHERS])
def test_the_onboard_code_does_as_the_scenario_says(robot: str, name: str, tmp_path: Path):
    (scenario,) = (each for each in held(robot) if each.name == name)
    result, _, _ = LockStep(scenario, tmp_path, ROBOT.with_name(f"{robot}.toml")).run()
    assert result.reasons == []
    assert result.verdict == "pass"


def test_most_scenarios_can_be_run_so():
    assert len(FURUTA) > 40
