"""Is nonsense about IMU, legs and walking refused, by one error that names file and key?"""

from __future__ import annotations

import msgspec
import pytest
from made_quadruped import QUADRUPED, load_quadruped

from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec, parse_robot_spec

TEXT = QUADRUPED.read_text(encoding="utf-8")
AHEAD = '{ kind = "speed", axis = "x", scale = 2.0 }'

NONSENSE = {
    "an IMU with a joint's id": ("id = 13", "id = 3", "imu.id 3 is a joint's"),
    "an IMU on another bus": ('kind = "dynamixel2"', 'kind = "mcu"', "does not speak 'mcu'"),
    "upright without an IMU": ("[imu]", "[budget_]", "budget_"),
    "a leg without joints": ('names = ["front_left"', 'names = ["middle"', "'middle_roll'"),
    "lying at home": ("settled_tilt_rad = ", "# ", "homing.settled_tilt_rad is missing"),
    "a hip too few": ("hip_m = [[0.1, 0.05], ", "hip_m = [", "legs.hip_m needs 4 pairs"),
    "no axis": (AHEAD, '{ kind = "speed", scale = 2.0 }', ".axis of speed must be x or y"),
    "no such axis": (AHEAD, AHEAD.replace('"x"', '"z"'), ".axis of speed must be x or y"),
    "a joint's gravity": (
        'kind = "gravity", axis = "x"',
        'kind = "gravity", axis = "x", joint = "rear_left_knee"',
        "gravity is about no joint",
    ),
    "a command with an axis": ('kind = "command"', 'kind = "command", axis = "x"', "has none"),
    "a joint's axis": (
        'kind = "velocity", joint = "rear_left_knee"',
        'kind = "velocity", joint = "rear_left_knee", axis = "x"',
        ".axis is for terms of the body, not for velocity",
    ),
    "no joint": (
        'kind = "velocity", joint = "rear_left_knee"',
        'kind = "velocity"',
        "joint missing cannot be read as velocity",
    ),
    "speeds the wrong way round": ("[0.25, 0.4]", "[0.4, 0.25]", "write the slowest first"),
    "no speeds": ("speeds_m_s = [0.25, 0.4]", "", "needs the task's speeds_m_s"),
    "a term that the reward reads": (f"  {AHEAD},\n", "", "no 'speed:x'"),
    "a motor of the other mode": (
        'id = 5\nmodel = "xl430-w250"',
        'id = 5\nmodel = "xl330-m288"',
        "an xl330-m288 is driven in mode current",
    ),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_by_name(case: str) -> None:
    old, new, named = NONSENSE[case]
    assert old in TEXT
    with pytest.raises(ConfigError) as caught:
        parse_robot_spec(TEXT.replace(old, new, 1), "rig.toml")
    assert str(caught.value).startswith("rig.toml: ")
    assert named in str(caught.value)


def test_without_the_imu_every_term_of_it_is_named() -> None:
    start, end = TEXT.index("[imu]"), TEXT.index("[[joints]]")
    with pytest.raises(ConfigError) as caught:
        parse_robot_spec(TEXT[:start] + TEXT[end:], "rig.toml")
    for kind in ("gravity", "gyro", "speed"):
        assert f"{kind} needs an [imu] table" in str(caught.value)
    assert "homing.settled_tilt_rad needs an [imu] table" in str(caught.value)


@pytest.mark.parametrize("robot", ["furuta", "arm5", "furuta_mcu"])
def test_what_was_added_is_not_in_the_contract_of_robots_without_it(robot: str) -> None:
    contract = msgspec.to_builtins(load_robot_spec(QUADRUPED.with_name(f"{robot}.toml")))
    assert not {"imu", "legs"} & {*contract}
    assert "settled_tilt_rad" not in contract["homing"]
    assert all("axis" not in term for term in contract["observation"])
    assert all("speeds_m_s" not in task for task in contract["tasks"].values())


def test_the_walker_observes_what_it_can_know() -> None:
    kinds = [term.kind for term in load_quadruped().observation]
    assert len(kinds) == 45
    assert kinds.count("position") == kinds.count("velocity") == kinds.count("applied") == 12
