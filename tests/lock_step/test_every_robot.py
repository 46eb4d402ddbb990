"""Every scenario that needs no processes, on every robot, in simulated time; some minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_rig import ROBOT
from made_trial import LockStep, held

LEAST_HELD = 40
ROBOTS = ("furuta", "furuta_mcu", "arm5", "quadruped")
HELD = [(robot, scenario) for robot in ROBOTS for scenario in held(robot)]


@pytest.mark.parametrize(
    ("robot", "scenario"), HELD, ids=[f"{robot}-{scenario.name}" for robot, scenario in HELD]
)
def test_the_onboard_code_does_as_the_scenario_says(robot, scenario, tmp_path: Path):
    result, _, _ = LockStep(scenario, tmp_path, ROBOT.with_name(f"{robot}.toml")).run()
    assert result.reasons == []
    assert result.verdict == "pass"


@pytest.mark.parametrize("robot", ROBOTS)
def test_most_scenarios_can_be_run_so(robot: str):
    assert len(held(robot)) > LEAST_HELD
