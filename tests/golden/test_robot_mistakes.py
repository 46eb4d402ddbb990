"""Does `wombet-sim check` say of each usual mistake where it is and what to write instead?

What it says is agreed on word by word in ``robot_mistakes/CASE.txt``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_robot import make_robot

from sim_harness.check.examination import examine

GOLDEN = Path(__file__).with_name("robot_mistakes")

MISTAKES: dict[str, list[tuple[str, str]]] = {
    "a_key_misspelt": [("watchdog_s", "wathcdog_s")],
    "a_key_in_another_unit": [("effort_max_nm = 0.296", "effort_max_mnm = 296")],
    "a_key_without_its_unit": [("current_max_a", "current_max")],
    "a_key_that_means_nothing": [("[bus]", "[bus]\ncolour = 'red'")],
    "a_key_left_out": [("discount = 0.97\n", "")],
    "a_table_misspelt": [("[timing]", "[timming]")],
    "a_table_left_out": [("[timing]\ncpu = 0\nfifo_priority = 80\n", "")],
    "torque_in_mnm": [("effort_max_nm = 0.296", "effort_max_nm = 296.0")],
    "stops_in_degrees": [("position_max_rad = 2.0", "position_max_rad = 115.0")],
    "speed_in_rpm": [("velocity_max_rad_s = 10.0", "velocity_max_rad_s = 229.0")],
    "time_in_ms": [("watchdog_s = 0.04", "watchdog_s = 40")],
    "temperature_in_kelvin": [("temperature_max_c = 65.0", "temperature_max_c = 338.0")],
    "a_number_in_quotes": [("control_hz = 50", 'control_hz = "50"')],
    "a_word_for_a_flag": [("actuated = true", 'actuated = "yes"')],
    "a_model_half_written": [("xl330-m288", "xl330")],
    "a_mode_misspelt": [('mode = "current"', 'mode = "curent"')],
    "a_baud_rate_no_motor_has": [("baud = 1_000_000", "baud = 500_000")],
    "two_motors_of_one_id": [("id = 2 ", "id = 1 ")],
    "an_observation_of_no_joint": [('joint = "elbow"', 'joint = "elbwo"')],
    "home_of_one_joint_only": [("home_rad = [0.0, 0.0]", "home_rad = [0.0]")],
    "a_reward_misspelt": [('reward = "factors"', 'reward = "factor"')],
    "a_factor_of_what_is_not_seen": [('"position:shoulder"', '"position:sholder"')],
    "a_bracket_never_closed": [("home_rad = [0.0, 0.0]", "home_rad = [0.0, 0.0")],
    "a_key_twice": [("control_hz = 50", "control_hz = 50\ncontrol_hz = 100")],
    "an_mjcf_that_is_not_there": [('mjcf = "rig.xml"', 'mjcf = "rgi.xml"')],
    "an_mjcf_that_is_no_xml": [("</worldbody>", "")],
    "a_joint_named_otherwise_in_the_mjcf": [('joint name="elbow"', 'joint name="ellbow"')],
    "an_mjcf_without_a_pose_to_start_from": [('key name="rest"', 'key name="start"')],
    "a_payload_without_a_place": [('<site name="tip"', '<site name="hand"')],
    "several_at_once": [
        ("baud = 1_000_000", 'baud = "fast"'),
        ("sign = 1 ", "sign = 2 "),
        ("effort_max_nm", "effort_nm"),
        ("discount = 0.97", "discount = 97"),
        ("physics_hz = 1000 ", "physics_hz = 10 "),
    ],
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_as_agreed_on(case: str, tmp_path: Path) -> None:
    assert told(case, tmp_path) == (GOLDEN / f"{case}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_where_it_was_made(case: str, tmp_path: Path) -> None:
    """Golden files could be wrong together; a line number can be counted."""
    robot = make_robot(tmp_path, *MISTAKES[case])
    lines = {each.line for each in examine(robot) if each.file == robot}
    sound = make_robot(tmp_path / "sound").read_text(encoding="utf-8").splitlines()
    typed = robot.read_text(encoding="utf-8").splitlines()
    changed = {n for n, line in enumerate(typed, 1) if line not in sound}
    if changed and len(typed) == len(sound):
        assert lines & changed


def test_every_golden_text_is_of_a_mistake() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == sorted(MISTAKES)


def told(case: str, directory: Path) -> str:
    """What is found, with the directory left out."""
    found = examine(make_robot(directory, *MISTAKES[case]))
    return "".join(f"{each}\n" for each in found).replace(f"{directory}/", "")


if __name__ == "__main__":  # PYTHONPATH=.:tests/support python tests/golden/test_robot_mistakes.py
    import tempfile

    for name in MISTAKES:
        with tempfile.TemporaryDirectory() as place:
            (GOLDEN / f"{name}.txt").write_text(told(name, Path(place)), encoding="utf-8")
