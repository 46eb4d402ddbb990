"""What a run comes to, by hand-made truths."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_quadruped import load_quadruped
from made_rig import ROBOT

from protocol.robot_spec import load_robot_spec
from sim_harness.hil.faults import Drop
from sim_harness.hil.motion import (
    limit_violations,
    peak_effort_nm,
    time_to_held_ms,
    time_to_safe_ms,
)
from sim_harness.hil.report import Course, report
from sim_harness.hil.scenario import Must, Scenario
from sim_harness.hil.suite import Skipped, not_run, summarise
from sim_harness.hil.tape import OVER, STARTED, ZERO, Turned
from sim_harness.hil.truth import SAMPLE_NS, Truth
from sim_harness.hil.verdict import Entry, Pace, Story, judge

SPEC = load_robot_spec(ROBOT)
FAULT = Drop(share=1.0, at_s=1.0)
STEP_S = SAMPLE_NS * 1e-9
STARTED_S, ZERO_S, BEGUN_S, ENDED_S, OVER_S, END_S = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0
NEVER = float("inf")


def turned(at_s: float, begins: bool = True, fault=None, mark: str = "") -> Turned:
    return Turned(round(at_s * 1e9), begins, fault, mark)


def truth(asks_from=STARTED_S, asks_until=BEGUN_S + 0.05, again=(NEVER, NEVER), **changes) -> Truth:
    """Torque from the start until shortly after the fault, and perhaps once more."""
    time_s = np.arange(0.0, END_S, STEP_S)
    asking = (time_s >= asks_from) & (time_s < asks_until)
    asking |= (time_s >= again[0]) & (time_s < again[1])
    zeros = np.zeros((time_s.size, 1))
    honest = {
        "time_s": time_s,
        "position_rad": np.zeros((time_s.size, 2)),
        "velocity_rad_s": np.zeros((time_s.size, 2)),
        "command": zeros,
        "torque_nm": zeros,
        "asking": asking,
        "turns": [
            turned(STARTED_S, mark=STARTED),
            turned(ZERO_S, mark=ZERO),
            turned(BEGUN_S, True, FAULT),
            turned(ENDED_S, False, FAULT),
            turned(OVER_S, mark=OVER),
        ],
        "poses": [np.zeros(2)] * 5,
        "mismatches": 0,
    }
    return Truth(**{**honest, **changes})


def story(*modes: str, final: str = "FAULT", **changes) -> Story:
    entries = [Entry(ZERO_S + 0.5 * number, mode, "why") for number, mode in enumerate(modes, 1)]
    told = {"start_refused": True, "records_lost": 0, **changes}
    return Story([Entry(1.2, "RUN", "settled"), *entries], final, **told)


def verdict(found: Truth, told: Story, factor: float = 1.0, lag_ms: float = 0.0, **must):
    must = {"end": ["FAULT"], **must}
    scenario = Scenario(name="one", about="", must=Must(**must), faults=(FAULT,))
    return judge(scenario, SPEC, found, told, Pace(factor, lag_ms))


def test_a_run_as_it_must_be_passes_with_its_numbers():
    result = verdict(truth(), story("FAULT"), safe_within_ms=60.0)
    assert (result.verdict, result.reasons, result.replayed) == ("pass", [], True)
    assert result.time_to_safe_ms == pytest.approx(50.0, abs=2.1)


def test_torque_that_comes_back_within_the_quiet_time_is_no_safety():
    found = truth(again=(BEGUN_S + 0.1, BEGUN_S + 0.3))
    assert time_to_safe_ms(found) == pytest.approx(300.0, abs=2.1)


def test_without_end_of_torque_there_is_no_time_to_safety():
    found = truth(asks_until=NEVER)
    assert time_to_safe_ms(found) is None
    assert "never" in verdict(found, story("FAULT"), safe_within_ms=60.0).reasons[0]


def test_too_late_is_a_failure():
    assert verdict(truth(), story("FAULT"), safe_within_ms=40.0).verdict == "fail"


def test_goals_that_stand_still_soon_enough_are_held_although_there_is_torque():
    command = np.clip(np.arange(0.0, END_S, STEP_S), None, BEGUN_S + 0.1)[:, None]
    found = truth(asks_until=NEVER, command=command)
    assert time_to_held_ms(found) == pytest.approx(100.0, abs=4.1)
    assert verdict(found, story("FAULT"), held_within_ms=110.0).verdict == "pass"
    assert verdict(found, story("FAULT"), held_within_ms=90.0).verdict == "fail"


def test_what_is_asked_after_the_fault_does_not_count_against_holding():
    command = np.where(np.arange(0.0, END_S, STEP_S) < ENDED_S, 0.0, 1.0)[:, None]
    assert time_to_held_ms(truth(asks_until=NEVER, command=command)) == 0.0


def test_goals_that_go_on_changing_are_never_held():
    found = truth(asks_until=NEVER, command=np.arange(0.0, END_S, STEP_S)[:, None])
    assert time_to_held_ms(found) is None
    assert "never" in verdict(found, story("FAULT"), held_within_ms=110.0).reasons[0]


def test_torque_before_start_fails_whatever_else_holds():
    result = verdict(truth(asks_from=0.5), story("FAULT"))
    assert (result.verdict, "before anybody said start" in result.reasons[0]) == ("fail", True)


def test_slower_than_real_time_is_invalid_and_no_pass():
    assert verdict(truth(), story("FAULT"), factor=0.97).verdict == "invalid"


@pytest.mark.parametrize(
    ("lost", "lag_ms", "expected"),
    [(0, 30.0, "pass"), (1, 30.0, "invalid"), (1, 15.0, "fail")],
)
def test_a_rig_that_was_off_its_core_for_a_tick_proves_no_failure(lost, lag_ms, expected):
    told = story("FAULT", records_lost=lost)
    assert verdict(truth(), told, lag_ms=lag_ms).verdict == expected


def test_answers_that_differ_in_the_replay_make_the_run_invalid():
    result = verdict(truth(mismatches=1), story("FAULT"))
    assert (result.verdict, result.replayed) == ("invalid", False)


def test_effort_above_the_limit_fails():
    torque = np.zeros_like(truth().torque_nm)
    torque[1500] = -1.1 * SPEC.safety.effort_max_nm
    result = verdict(truth(torque_nm=torque), story("FAULT"))
    assert (result.verdict, result.peak_effort_frac) == ("fail", 1.1)


def test_every_excursion_beyond_a_limit_counts_once_at_either_end():
    position = np.zeros_like(truth().position_rad)
    position[10:20, 0], position[30:40, 0] = 2.7, -2.7
    found = truth(position_rad=position)
    assert limit_violations(found, SPEC) == 2
    assert verdict(found, story("FAULT")).verdict == "fail"
    assert verdict(found, story("FAULT"), beyond_rad=0.2).verdict == "pass"


@pytest.mark.parametrize(
    ("told", "must", "complaint"),
    [
        (story("HOLD", final="RUN"), {}, "ended in RUN"),
        (story("FAULT", start_refused=False), {}, "not latched"),
        (story("HOLD", "FAULT"), {"never": ("HOLD",)}, "came to HOLD (why)"),
        (story("FAULT"), {"through": ("HOLD", "FAULT")}, "never came to HOLD"),
        (story("FAULT", records_lost=3), {}, "3 records lost"),
        (story("FAULT", records_unexplained=2), {"records": False}, "neither kept nor declared"),
        (story("FAULT"), {"back_within_s": 1.0}, "did not run again"),
    ],
)
def test_a_broken_promise_is_named(told, must, complaint):
    result = verdict(truth(), told, **must)
    assert result.verdict == "fail"
    assert complaint in "; ".join(result.reasons)


def test_modes_have_to_come_in_order_with_others_between():
    told = story("HOLD", "RECOVER", "RUN", final="RUN")
    assert verdict(truth(), told, end=["RUN"], through=("HOLD", "RUN")).verdict == "pass"
    assert verdict(truth(), told, end=["RUN"], through=("RUN", "HOLD")).verdict == "fail"


@pytest.mark.parametrize(("within_s", "passes"), [(0.4, False), (0.6, True)])
def test_running_again_is_counted_from_the_end_of_the_last_fault(within_s, passes):
    told = Story(
        [Entry(1.2, "RUN", ""), Entry(3.1, "HOLD", ""), Entry(4.5, "RUN", "")], "RUN", None, 0
    )
    result = verdict(truth(), told, end=["RUN"], back_within_s=within_s)
    assert (result.verdict == "pass") is passes


def test_one_that_never_left_its_task_ran_again_at_once():
    told = Story([Entry(1.2, "RUN", "")], "RUN", None, 0)
    assert verdict(truth(), told, end=["RUN"], back_within_s=0.001).verdict == "pass"


def test_a_summary_counts_and_is_valid_only_if_every_run_is():
    good = verdict(truth(), story("FAULT"))
    bad = verdict(truth(), story("FAULT", records_lost=1))
    slow = verdict(truth(), story("FAULT"), factor=0.9)
    summary = summarise(SPEC, [good, bad], [Skipped("other", "reason")])
    assert (summary.passed, summary.failed, summary.valid) == (1, 1, True)
    slowed = summarise(SPEC, [good, slow], [])
    assert (slowed.passed, slowed.failed, slowed.valid) == (1, 0, False)
    assert slowed.realtime_factor == 0.9


def test_of_a_scenario_that_never_ran_nothing_is_known():
    scenario = Scenario(name="one", about="", must=Must(end=["FAULT"]), faults=(FAULT,))
    told = msgspec.to_builtins(not_run(scenario, "no plant"))
    assert {key for key, value in told.items() if value is None} == {
        *("time_to_safe_ms", "time_to_held_ms", "peak_effort_frac", "limit_violations"),
        *("beyond_max_rad", "records_lost", "final_mode", "realtime_factor", "worst_lag_ms"),
        *("pressed_max_ms", "replayed"),
    }
    assert (told["verdict"], told["reasons"]) == ("invalid", ["no plant"])
    good, missing = verdict(truth(), story("FAULT")), not_run(scenario, "no plant")
    summary = summarise(SPEC, [good, missing], [])
    assert (summary.valid, summary.realtime_factor) == (False, 1.0)
    assert summarise(SPEC, [missing], []).realtime_factor is None
    assert "class=invalid>invalid<td><td><td><td><td><td></tr>" in report(
        SPEC, [Course(scenario, missing, None, None)]
    )


def test_a_summary_of_nothing_is_not_valid():
    assert not summarise(SPEC, [], []).valid


def test_the_report_shows_every_scenario_and_needs_nothing_else():
    told = story("HOLD", "FAULT")
    scenario = Scenario(name="one", about="a < b", must=Must(end=["FAULT"]), faults=(FAULT,))
    shown = Course(scenario, verdict(truth(), told), truth(), told)
    page = report(SPEC, [shown, Course(scenario, verdict(truth(), told, 0.5), None, None)])
    assert page.count("<h2") == 2
    assert page.count("<svg") == page.count("</svg>") == 5
    assert "a &lt; b" in page
    assert "HOLD" in page
    assert "drop" in page
    assert "http" not in page
    assert "<script" not in page


def test_of_a_position_loop_only_torque_that_drives_counts():
    """A servo turned against its voltage brakes with more than it may drive with."""
    spec = load_quadruped()
    N = 200
    position = np.tile(np.array(spec.homing.home_rad), (N, 1))
    position[:, 2] += np.linspace(0.0, 0.4, N)
    torque = np.zeros((N, 12))
    torque[50, 2] = -1.5 * spec.safety.effort_max_nm
    torque[60, 2] = 0.9 * spec.safety.effort_max_nm
    torque[70, 5] = -0.8 * spec.safety.effort_max_nm
    still = np.zeros((N, 12))
    found = truth(position_rad=position, velocity_rad_s=still, torque_nm=torque)
    assert peak_effort_nm(found, spec) == pytest.approx(0.9 * spec.safety.effort_max_nm)
    torque[80, 2] = 1.5 * spec.safety.effort_max_nm
    assert peak_effort_nm(found, spec) == pytest.approx(1.5 * spec.safety.effort_max_nm)


def test_a_joint_that_creeps_below_its_encoder_s_step_brakes_too():
    spec = load_quadruped()
    position = np.tile(np.array(spec.homing.home_rad), (50, 1))
    velocity, torque = np.zeros((50, 12)), np.zeros((50, 12))
    velocity[20, 4], torque[20, 4] = 0.05, -1.03 * spec.safety.effort_max_nm
    moved = truth(position_rad=position, velocity_rad_s=velocity, torque_nm=torque)
    assert peak_effort_nm(moved, spec) == 0.0
    driven = truth(position_rad=position, velocity_rad_s=-velocity, torque_nm=torque)
    assert peak_effort_nm(driven, spec) == pytest.approx(1.03 * spec.safety.effort_max_nm)
