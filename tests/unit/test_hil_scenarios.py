"""Scenarios as data: what is refused, what is skipped, what the timeline makes of them."""

from __future__ import annotations

from typing import get_args

import pytest
from made_rig import ROBOT

from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness.hil.command import SCENARIOS
from sim_harness.hil.faults import (
    AnyFault,
    Dead,
    Drop,
    Frozen,
    ImuBlank,
    described,
    joint_of,
    obstacle,
)
from sim_harness.hil.scenario import load_suite, parse_suite
from sim_harness.hil.suite import plan
from sim_harness.hil.timeline import timeline

SPEC = load_robot_spec(ROBOT)
HEAD = 'schema = 1\n[[scenarios]]\nname = "one"\nabout = ""\nmust = { end = ["RUN"] }\n'
LEAST_SCENARIOS = 40


def suite(body: str):
    return parse_suite(HEAD + body, "test.toml")


def test_the_furuta_goes_through_at_least_forty_scenarios():
    assert len(plan(load_suite(SCENARIOS).scenarios, SPEC).chosen) >= LEAST_SCENARIOS


def test_every_kind_of_fault_is_in_some_scenario():
    written = SCENARIOS.read_text(encoding="utf-8")
    kinds = {str(kind.__struct_config__.tag) for kind in get_args(AnyFault)}
    assert len(kinds) > 20
    assert {kind for kind in kinds if f'kind = "{kind}"' in written} == kinds


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("speed = 1", "unknown field `speed`"),
        ('faults = [{ kind = "meteor", at_s = 1.0 }]', "meteor"),
        ('faults = [{ kind = "drop", at_s = 1.0, share = 1.5 }]', "<= 1.0"),
        ('faults = [{ kind = "drop", at_s = 2.0, for_s = 2.0, share = 0.5 }]', "goes on after"),
        ("draws = 3", "no menu"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused_by_name(body, told):
    with pytest.raises(ConfigError, match=told):
        suite(body)


def test_two_scenarios_cannot_share_a_name():
    again = HEAD.removeprefix("schema = 1\n")
    with pytest.raises(ConfigError, match="several scenarios are called one"):
        parse_suite(HEAD + again, "test.toml")


def test_safety_can_only_be_asked_for_after_something_went_wrong():
    text = HEAD.replace('["RUN"]', '["RUN"], safe_within_ms = 10')
    with pytest.raises(ConfigError, match="nothing happens"):
        parse_suite(text, "test.toml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        load_suite(tmp_path / "gone.toml")


def test_moments_come_in_order_and_what_has_no_end_ends_with_the_scenario():
    (scenario,) = suite(
        'lasts_s = 4.0\nfaults = [{ kind = "drop", at_s = 2.0, share = 0.5 },'
        '{ kind = "flip", at_s = 1.0, for_s = 1.5, share = 0.5 }]'
    ).scenarios
    told = [(m.at_s, m.begins, described(m.fault).split()[0]) for m in timeline(scenario)]
    assert told == [
        (1.0, True, "flip"),
        (2.0, True, "drop"),
        (2.5, False, "flip"),
        (4.0, False, "drop"),
    ]


DRAWN = """lasts_s = 5.0
seed = {seed}
draws = 20
menu = [{{ kind = "drop", at_s = 4.5, for_s = 1.0, share = 0.5 }}]
"""


def drawn(seed: int):
    return timeline(suite(DRAWN.format(seed=seed)).scenarios[0])


def test_equal_seeds_draw_equal_faults_and_others_do_not():
    assert drawn(1) == drawn(1) != drawn(2)


def test_drawn_faults_end_before_their_scenario():
    assert len(drawn(3)) == 40
    assert all(0.0 <= moment.at_s <= 5.0 for moment in drawn(3))


def test_a_joint_is_meant_by_kind_or_name_and_an_unknown_one_is_refused():
    assert [joint_of(name, SPEC).name for name in ("motor", "passive", "arm")] == [
        "arm", "pendulum", "arm"
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no joint 'leg'"):
        joint_of("leg", SPEC)


def test_what_a_robot_or_machine_cannot_have_is_skipped_with_a_reason():
    arm = load_robot_spec(ROBOT.with_name("arm5.toml"))
    assert "no passive joint" in obstacle(Dead(node="passive", at_s=0.0), arm)
    assert obstacle(Drop(share=0.1, at_s=0.0), SPEC) is None


def test_a_scenario_can_be_about_some_robots_only():
    other = HEAD.removeprefix("schema = 1\n").replace('"one"', '"two"')
    chosen = plan(suite('robots = ["arm5"]\n' + other).scenarios, SPEC)
    assert [each.name for each in chosen.chosen] == ["two"]
    assert (chosen.skipped[0].name, chosen.skipped[0].reason) == ("one", "it is about arm5")


def test_a_suite_of_which_nothing_is_left_proves_nothing_and_is_refused():
    with pytest.raises(ConfigError, match=r"no scenario can be run on furuta.*it is about arm5"):
        plan(suite('robots = ["arm5"]').scenarios, SPEC)
    with pytest.raises(ConfigError, match="there is none"):
        plan([], SPEC)


@pytest.mark.parametrize(("robot", "least"), [("arm5", 50), ("quadruped", 55)])
def test_where_motors_hold_without_a_word_other_scenarios_take_their_place(robot, least):
    spec = load_robot_spec(ROBOT.with_name(f"{robot}.toml"))
    chosen = plan(load_suite(SCENARIOS).scenarios, spec)
    reasons = {each.name: each.reason for each in chosen.skipped}
    assert "without a word" in reasons["silent_wire"]
    assert "silent_wire_held" in {each.name for each in chosen.chosen}
    assert len(chosen.chosen) >= least


def test_where_motors_let_go_nobody_waits_for_them_to_hold():
    skipped = {
        each.name: each.reason for each in plan(load_suite(SCENARIOS).scenarios, SPEC).skipped
    }
    assert "let go" in skipped["silent_wire_held"]


def test_faults_of_an_imu_need_one():
    walker = load_robot_spec(ROBOT.with_name("quadruped.toml"))
    for fault in (ImuBlank(at_s=0.0), Frozen(at_s=0.0, node="imu"), Dead(node="imu", at_s=0.0)):
        assert obstacle(fault, SPEC) == "furuta has no imu"
        assert obstacle(fault, walker) is None


def test_a_real_adapter_is_not_unplugged_by_software():
    chosen = plan(load_suite(SCENARIOS).scenarios, SPEC, pluggable=False)
    assert "adapter_unplugged" in {each.name for each in chosen.skipped}
    assert "silent_wire" in {each.name for each in chosen.chosen}


def test_who_may_not_mount_has_no_full_disk():
    chosen = plan(load_suite(SCENARIOS).scenarios, SPEC, mountable=False)
    assert [each for each in chosen.skipped if "root" in each.reason]
    assert "disk_full" not in {each.name for each in chosen.chosen}


def test_without_a_compiler_the_clock_cannot_step():
    chosen = plan(load_suite(SCENARIOS).scenarios, SPEC, steppable=False)
    assert "clock_stepped" in {each.name for each in chosen.skipped}
    assert "clock_stepped" in {
        each.name for each in plan(load_suite(SCENARIOS).scenarios, SPEC).chosen
    }
