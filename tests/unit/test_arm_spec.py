"""Is nonsense in a position-mode robot file refused, by one error that names file and key?"""

from __future__ import annotations

import msgspec
import pytest
from made_arm import ARM, load_arm
from made_records import SPEC as FURUTA

from protocol.errors import ConfigError
from protocol.robot_spec import parse_robot_spec

TEXT = ARM.read_text(encoding="utf-8")
RANGE = "range_rad = [0.03, 0.03, 0.03, 0.03, 0.03]"

NONSENSE = {
    "another bus's servo": (
        'model = "sts3215"',
        'model = "xl330-m288"',
        "does not speak 'feetech'",
    ),
    "servos on another bus": ('kind = "feetech"', 'kind = "dynamixel2"', "an sts3215 does not"),
    "too few ranges": (RANGE, "range_rad = [0.03]", "action.range_rad needs 5 numbers"),
    "a step as long as a stride": (
        RANGE,
        RANGE.replace("0.03]", "0.5]"),
        "of roll must be at most",
    ),
    "a step of nothing": (RANGE, RANGE.replace("0.03]", "0.0]"), "range_rad"),
    "homing that outruns the steps": (
        "velocity_max_rad_s = 0.8",
        "velocity_max_rad_s = 1.6",
        "homing.velocity_max_rad_s outruns",
    ),
    "too few centres": (RANGE, f"{RANGE}\ncentre_rad = [0.0]", "action.centre_rad needs 5"),
    "a place beyond the soft limit": (
        RANGE,
        "range_rad = [0.5, 0.5, 0.5, 0.5, 0.5]\ncentre_rad = [1.5, 0.0, 0.0, 0.0, 0.0]",
        "centre_rad ± range_rad of pan must lie in [-1.75, 1.75]",
    ),
    "more effort than there is": ("effort_max_nm = 2.0", "effort_max_nm = 3.6", "action.stall_nm"),
    "an encoder that cannot see the stop": (
        "offset_rad = 0.0",
        "offset_rad = 1.5",
        "pan: its stops must lie within half a turn",
    ),
    "unknown mode": ('mode = "position"', 'mode = "velocity"', "mode"),
    "current keys in position mode": ("stall_nm = 3.5", "current_max_a = 3.5", "current_max_a"),
    "a goal without depth": ("goal_m = [0.24, 0.13, 0.10]", "goal_m = [0.24, 0.13]", "goal_m"),
    "no goal": ("goal_m = [0.24, 0.13, 0.10]", "", "tasks.reach"),
}


def edited(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_by_name(case: str) -> None:
    old, new, named = NONSENSE[case]
    with pytest.raises(ConfigError) as caught:
        parse_robot_spec(edited(old, new), "rig.toml")
    assert str(caught.value).startswith("rig.toml: ")
    assert named in str(caught.value)


def test_the_lengths_may_be_missing_only_where_no_task_needs_them() -> None:
    text = TEXT.replace("[arm]", "[arm_]")
    with pytest.raises(ConfigError, match="arm_"):
        parse_robot_spec(text, "rig.toml")


def test_places_instead_of_steps_are_a_robot_too() -> None:
    text = edited(RANGE, "range_rad = [0.5, 0.5, 0.5, 0.5, 0.5]\ncentre_rad = [0, 0, 0, 0, 0]")
    assert parse_robot_spec(text, "rig.toml").digest() != load_arm().digest()


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("velocity_gain = 0.15", "velocity_gain = 0.0", "homing.velocity_gain must be positive"),
        ("settled_passive_rad = 0.08", "settled_passive_rad = 0.0", "settled_passive_rad must be"),
        ('kind = "cos"\njoint = "pendulum"', 'kind = "goal"\njoint = "arm"', "no goal to observe"),
        ('kind = "cos"', 'kind = "goal"', "cannot be read as goal"),
    ],
)
def test_what_current_mode_needs_and_lacks_is_named(key: str, value: str, named: str) -> None:
    text = (ARM.parent / "furuta.toml").read_text(encoding="utf-8")
    assert key in text
    with pytest.raises(ConfigError, match=named):
        parse_robot_spec(text.replace(key, value, 1), "rig.toml")


def test_what_was_added_for_others_is_not_in_the_contract_of_the_first_robot() -> None:
    """Policies are pinned to its digest."""
    contract = msgspec.to_builtins(FURUTA)
    assert "arm" not in contract
    assert {*contract["tasks"]["swing_up"]} == {"reward", "episode_steps", "discount"}
    assert {*contract["action"]} == {
        *("mode", "current_max_a", "torque_constant_nm_a"),
        *("joint_friction_nm", "joint_damping_nm_s"),
    }
