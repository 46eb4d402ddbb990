"""Scenarios that are different for a walker, in simulated time: the onboard code must pass them."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_quadruped import QUADRUPED
from made_trial import LockStep, in_lock_step

from protocol.robot_spec import load_robot_spec
from sim_harness.hil.command import SCENARIOS
from sim_harness.hil.scenario import load_suite
from sim_harness.hil.suite import plan

SPEC = load_robot_spec(QUADRUPED)
PLAN = plan(load_suite(SCENARIOS).scenarios, SPEC)
NAMES = (
    *("calm", "wild_policy", "operator_estop"),
    *("all_sensors_frozen", "motor_dead", "pushed"),
    *("silent_wire_held", "adapter_back_lets_go", "answers_too_late_held"),
    *("imu_dead", "imu_reboots", "imu_blank", "imu_garbage"),
    *("imu_frozen", "imu_late", "imu_askew", "imu_upside_down"),
)
HELD = {each.name: each for each in PLAN.chosen if in_lock_step(each)}


@pytest.mark.parametrize("name", NAMES)
def test_the_walker_does_as_the_scenario_says(name: str, tmp_path: Path) -> None:
    result, _, _ = LockStep(HELD[name], tmp_path, QUADRUPED).run()
    assert result.reasons == []
    assert result.verdict == "pass"


def test_scenarios_in_which_silence_must_take_the_torque_are_skipped() -> None:
    reasons = {each.name: each.reason for each in PLAN.skipped}
    assert "keep their torque" in reasons["silent_wire"]
    assert len(HELD) >= 50, "most of the suite is left, and what takes their place"
