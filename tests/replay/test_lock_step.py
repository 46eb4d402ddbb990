"""The scenarios that need no processes, in simulated time: the onboard code must pass them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_rig import ROBOT
from made_trial import LockStep, in_lock_step

from protocol.robot_spec import load_robot_spec
from sim_harness.hil.command import SCENARIOS
from sim_harness.hil.scenario import load_suite
from sim_harness.hil.suite import plan

SPEC = load_robot_spec(ROBOT)
HELD = [each for each in plan(load_suite(SCENARIOS).scenarios, SPEC).chosen if in_lock_step(each)]


@pytest.mark.parametrize("scenario", HELD, ids=lambda scenario: scenario.name)
def test_the_onboard_code_does_as_the_scenario_says(scenario, tmp_path: Path):
    result, _, _ = LockStep(scenario, tmp_path).run()
    assert result.reasons == []
    assert result.verdict == "pass"


@pytest.mark.parametrize("robot", ["arm5", "furuta_mcu"])
@pytest.mark.parametrize("name", ["bytes_doubled", "answers_cut_in_half"])
def test_other_buses_outlive_a_bad_wire_too(robot: str, name: str, tmp_path: Path):
    """A doubled byte can make a packet seem longer than it is; who waits for the rest is deaf."""
    (scenario,) = (each for each in load_suite(SCENARIOS).scenarios if each.name == name)
    result, _, _ = LockStep(scenario, tmp_path, ROBOT.with_name(f"{robot}.toml")).run()
    assert result.reasons == []


def test_most_scenarios_can_be_run_so():
    assert len(HELD) > 40
