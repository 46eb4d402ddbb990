"""Does the shipped runtime stand the shipped walker up, over a real terminal and in real time?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hil_process import run_hil
from plant_process import ROOT, self_test

from protocol.robot_spec import load_robot_spec
from sim_harness.hil.tape import read_tape
from sim_harness.hil.truth import relive

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
ROBOT = ROOT / "hw_configs" / "quadruped.toml"
STANDING = """
schema = 1
[[scenarios]]
name = "standing"
about = "Stood up by itself, it drives under a plain policy for six seconds."
lasts_s = 6.0
must = { end = ["RUN", "RECOVER"], never = ["HOLD", "FAULT", "ESTOP", "IDLE"] }
"""


def test_the_self_test_finds_twelve_servos_and_an_imu(tmp_path: Path) -> None:
    """How fast they answer is not asked: that is for a machine with nothing else to do."""
    tested = self_test("quadruped", tmp_path)
    for joint in load_robot_spec(ROBOT).joints:
        assert f"ok      {joint.name}: id {joint.id}, model 1060" in tested.stdout, tested.stderr
        assert f"ok      {joint.name} encoder: at " in tested.stdout
    assert "ok      imu: id 13" in tested.stdout
    assert "ok      imu: down is " in tested.stdout
    assert "one packet answers for all" in tested.stdout


def test_it_stands_up_and_drives_for_six_seconds(tmp_path: Path) -> None:
    """The real processes, told from outside; what really happened is lived through again."""
    scenarios, out = tmp_path / "standing.toml", tmp_path / "out"
    scenarios.write_text(STANDING, encoding="utf-8")
    ran = run_hil("quadruped", out, "--scenarios", scenarios)
    assert ran.summary["passed"] == 1
    truth = relive(
        read_tape(out / "standing" / "tape.msgpack"), load_robot_spec(ROBOT), ROBOT.parent
    )
    assert truth.mismatches == 0
    began_s, over_s = truth.mark_s("zero"), truth.mark_s("over")
    assert began_s is not None
    assert over_s is not None
    driven = (truth.time_s > began_s) & (truth.time_s < over_s)
    assert np.count_nonzero(driven) * 0.002 >= 5.0
    assert truth.asking[driven].all()
