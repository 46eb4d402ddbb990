"""Can every promise of every scenario be broken? By hand-made truths, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from made_rig import ROBOT

from protocol.modes import Mode
from protocol.robot_spec import load_robot_spec
from sim_harness.hil.command import SCENARIOS
from sim_harness.hil.scenario import LATCHED, Must, Scenario, load_suite
from sim_harness.hil.tape import OVER, STARTED, ZERO, Turned
from sim_harness.hil.timeline import faults_of
from sim_harness.hil.truth import SAMPLE_NS, Array, Truth
from sim_harness.hil.verdict import Entry, Pace, Result, Story, judge

SPEC = load_robot_spec(ROBOT)
TIME_S = np.arange(0.0, 6.0, SAMPLE_NS * 1e-9)
STARTED_S, ZERO_S, BEGUN_S, ENDED_S, OVER_S = 1.0, 2.0, 3.0, 4.0, 5.0
SUITE = load_suite(SCENARIOS).scenarios
DRIVING = {"RUN", "RECOVER", "HOMING", "HOLD"}


class Run(NamedTuple):
    """What a robot did, and what it told."""

    truth: Truth
    story: Story

    def judged(self, scenario: Scenario) -> Result:
        return judge(scenario, SPEC, self.truth, self.story, Pace(1.0))

    def but(self, **changes: Any) -> Run:
        """The same run, except for this of the truth or the story."""
        told = {key: value for key, value in changes.items() if key in Story._fields}
        seen = {key: value for key, value in changes.items() if key in Truth._fields}
        return Run(self.truth._replace(**seen), self.story._replace(**told))


def exemplary(scenario: Scenario) -> Run:
    """A run that keeps every promise of ``scenario``."""
    must = scenario.must
    quiet_s = BEGUN_S if must.safe_within_ms is not None else OVER_S
    asking = (TIME_S >= STARTED_S) & (quiet_s > TIME_S) & (scenario.start != "IDLE")
    zeros = np.zeros((TIME_S.size, len(SPEC.actuated)))
    truth = Truth(
        time_s=TIME_S,
        position_rad=np.zeros((TIME_S.size, len(SPEC.joints))),
        velocity_rad_s=np.zeros((TIME_S.size, len(SPEC.joints))),
        command=zeros,
        torque_nm=zeros,
        asking=asking,
        turns=turns(scenario),
        poses=[],
        mismatches=0,
    )
    return Run(truth, Story(entries(must), must.end[0], must.end[0] in LATCHED or None, 0))


def turns(scenario: Scenario) -> list[Turned]:
    marks = [(STARTED_S, STARTED), (ZERO_S, ZERO), (OVER_S, OVER)]
    found = [Turned(round(at_s * 1e9), True, None, mark) for at_s, mark in marks]
    for fault in faults_of(scenario)[:1]:
        ends = ((BEGUN_S, True), (ENDED_S, False))
        found += [Turned(round(at_s * 1e9), begins, fault, "") for at_s, begins in ends]
    return found


def entries(must: Must) -> list[Entry]:
    """Where it has been: RUN at first, then what has to be passed through."""
    passed = [*must.through, *(must.end[:1] if must.end[0] not in DRIVING else [])]
    return [Entry(1.2, "RUN", "test")] + [
        Entry(BEGUN_S + 0.1 * number, mode, "test") for number, mode in enumerate(passed, 1)
    ]


def broken(scenario: Scenario) -> Iterator[tuple[str, Run]]:
    """The exemplary run with one promise broken, each in turn: which one, and the run."""
    must, good = scenario.must, exemplary(scenario)
    told = [*good.story.entries]
    wrong = next(mode.name for mode in Mode if mode.name not in must.end)
    yield "end", good.but(final_mode=wrong)
    yield "moved early", good.but(asking=good.truth.asking | (TIME_S < STARTED_S))
    for mode in must.never:
        yield f"never {mode}", good.but(entries=[*told, Entry(BEGUN_S + 0.05, mode, "test")])
    for mode in must.through:
        yield f"through {mode}", good.but(entries=[each for each in told if each.mode != mode][:1])
    yield "effort", good.but(torque_nm=pushed(must))
    yield "limits", good.but(position_rad=thrown(must))
    yield "pressed", good.but(position_rad=at_its_end(), torque_nm=pressed(must))
    yield "records kept or declared", good.but(records_unexplained=1)
    if must.records:
        yield "records", good.but(records_lost=1)
    if must.end[0] in LATCHED:
        yield "latched", good.but(start_refused=False)
    if must.safe_within_ms is not None:
        late_s = BEGUN_S + 1e-3 * must.safe_within_ms + 0.01
        yield "safe", good.but(asking=(TIME_S > BEGUN_S) & (min(late_s, OVER_S + 0.1) > TIME_S))
    if must.held_within_ms is not None:
        yield "held", good.but(command=np.sin(TIME_S)[:, None])
    if must.back_within_s is not None:
        yield "back", good.but(entries=[*told, Entry(BEGUN_S + 0.1, "HOLD", "test")])


def pushed(must: Must) -> Array:
    """Torque (N, A) a little beyond what is allowed."""
    peak_nm = (must.effort_max_frac + 0.01) * SPEC.safety.effort_max_nm
    return np.full((TIME_S.size, len(SPEC.actuated)), peak_nm)


def thrown(must: Must) -> Array:
    """Positions (N, J) of which one is a little farther out than is allowed."""
    position = np.zeros((TIME_S.size, len(SPEC.joints)))
    position[1600, 0] = SPEC.joints[0].position_max_rad + must.beyond_rad + 0.03
    return position


def at_its_end() -> Array:
    """Positions (N, J) of which one is at its limit, and not beyond."""
    position = np.zeros((TIME_S.size, len(SPEC.joints)))
    position[:, 0] = SPEC.joints[0].position_max_rad
    return position


def pressed(must: Must) -> Array:
    """Torque (N, A) outwards, for a little longer than is allowed."""
    torque = np.zeros((TIME_S.size, len(SPEC.actuated)))
    until_s = STARTED_S + 1e-3 * must.pressed_ms + 0.01
    torque[(TIME_S > STARTED_S) & (until_s > TIME_S), 0] = 0.5 * SPEC.safety.effort_max_nm
    return torque


@pytest.mark.parametrize("scenario", SUITE, ids=lambda scenario: scenario.name)
def test_every_promise_of_a_scenario_can_be_broken(scenario: Scenario) -> None:
    assert exemplary(scenario).judged(scenario).reasons == []
    toothless = [
        promise for promise, run in broken(scenario) if run.judged(scenario).verdict != "fail"
    ]
    assert toothless == []


def test_no_scenario_lets_a_joint_leave_its_limits_for_good() -> None:
    assert {each.name: each.must.beyond_rad for each in SUITE if each.must.beyond_rad > 0.05} == {}
