"""Hardware in the loop, with real processes: three scenarios through the command itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hil_process import Ran, run_hil

from onboard.flight_file import read_recording
from onboard.flight_replay import replay_recording
from protocol.robot_spec import load_robot_spec
from sim_harness.hil.tape import read_tape
from sim_harness.hil.truth import relive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
SAFE = ("adapter_unplugged", "operator_estop")
SCENARIOS = (*SAFE, "clock_stepped")
RESULT = {
    *("name", "faults", "expected", "verdict", "time_to_safe_ms", "peak_effort_frac"),
    *("limit_violations", "records_lost", "final_mode"),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Ran:
    """All of them, in one run."""
    return run_hil("furuta", tmp_path_factory.mktemp("hil"), "--only", *SCENARIOS)


def test_the_robot_becomes_safe_in_every_one_of_them(ran):
    summary = ran.summary
    assert (ran.status, summary["passed"], summary["robot"]) == (0, len(SCENARIOS), "furuta")
    assert summary["realtime_factor"] >= 0.98
    for each in summary["scenarios"]:
        assert set(each) >= RESULT
        assert each["name"] not in SAFE or each["time_to_safe_ms"] <= 400.0
        assert (each["limit_violations"], each["records_lost"]) == (0, 0)


def test_what_was_recorded_in_real_time_replays_in_lock_step(ran):
    spec = load_robot_spec(ROBOT)
    for name in SCENARIOS:
        tape = read_tape(ran.out / name / "tape.msgpack")
        assert len(tape.events) > 50
        assert relive(tape, spec, ROBOT.parent).mismatches == 0


def test_the_onboard_code_does_again_what_its_recorder_kept(ran):
    """With the policy that flew; after an emergency stop and without a fault."""
    for name in SCENARIOS:
        newest = max((ran.out / name / "flights").glob("*.mcap"))
        different, replayed = replay_recording(read_recording(newest), ran.out / "policies")
        assert different == []
        assert min(replayed.compared["observation"], replayed.compared["policy"]) > 20


def test_the_step_of_the_clock_reached_the_runtime_and_changed_nothing(ran):
    """Its log says so: it stamps what happens with the time of day."""
    log = (ran.out / "clock_stepped" / "log.txt").read_text(encoding="utf-8", errors="replace")
    stamps = [float(found) for found in re.findall(r'"time_s":([0-9.]+)', log)]
    assert max(stamps) - min(stamps) > 3000.0


def test_the_report_stands_alone(ran):
    page = (ran.out / "report.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in SCENARIOS)
    assert "http" not in page
    assert "data:image/png" in page or "no pictures on this machine" in page
