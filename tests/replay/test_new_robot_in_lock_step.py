"""Does a new robot, as `wombet-sim new-robot` writes it, hold when things go wrong?"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_robot import make_robot
from made_trial import LockStep

from sim_harness.hil.command import SCENARIOS
from sim_harness.hil.scenario import load_suite

SUITE = {scenario.name: scenario for scenario in load_suite(SCENARIOS).scenarios}


@pytest.mark.parametrize("joints", [1, 2])
@pytest.mark.parametrize("name", ["calm", "wild_policy", "silent_wire", "terrible_wire"])
def test_a_new_robot_does_as_the_scenario_says(joints: int, name: str, tmp_path: Path) -> None:
    robot = make_robot(tmp_path / "robot", joints=joints)
    result, _, _ = LockStep(SUITE[name], tmp_path, robot).run()
    assert result.reasons == []
    assert result.verdict == "pass"
