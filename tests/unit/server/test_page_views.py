"""Does the page tell the truth, and in words that people understand? View models alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from made_page import NOW_S, REPORT, STATUS, UNIT, make_run, robot, swinging
from made_records import SPEC

from offboard.mcap_archive import action_units, column_units
from offboard.page.alarms import alarms
from offboard.page.charts import (
    diet_chart,
    plane_chart,
    reliability_chart,
    returns_chart,
    source_chart,
    strip_chart,
)
from offboard.page.facts import Fact, Level, ago, count, number, percent, sentence
from offboard.page.fleet import DOING, fleet, robot_card, server_facts
from offboard.page.history import history
from offboard.page.learning import composition, diet, progress, returns, source_curve
from offboard.page.prior import BINS, generation, honesty, plane, reliability
from offboard.page.run_files import Generated, HeldOut, Loss, Run, RunFiles, Status
from offboard.page.strip import POINTS_MAX, Shown, doing, panels
from protocol.messages import PolicyEvent, Release
from protocol.modes import Mode

SHOWN = Shown(column_units(SPEC), action_units(SPEC), swinging(600), SPEC.control_hz)


def status(**changes: Any) -> Status:
    return msgspec.structs.replace(STATUS, **changes)


def a_run(**changes: Any) -> Run:
    return Run("demo/serve", status=status(**changes), said_s=NOW_S)


@pytest.fixture
def made(tmp_path: Path) -> Run:
    return RunFiles(make_run(tmp_path)).read()


def value(facts: tuple[Fact, ...], label: str) -> str:
    return next(fact.value for fact in facts if fact.label == label)


def told(run: Run, now_s: float = NOW_S) -> list[str]:
    return [f"{alarm.where}: {alarm.what}" for alarm in alarms(run, now_s)]


# facts


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "just now"), (42.0, "42 seconds ago"), (150.0, "2 minutes ago"), (9e4, "25 hours ago")],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_numbers_read_as_people_write_them() -> None:
    assert [number(x) for x in (0.01234, 12.34, 1234.5, None, float("nan"))] == [
        *("0.0123", "12.3", "1,234", "–", "–"),
    ]
    assert [percent(x) for x in (0.0, 0.0002, 0.41, None)] == ["0 %", "0.02 %", "41 %", "–"]
    assert (count(1, "batch", "batches"), count(2, "batch", "batches")) == ("1 batch", "2 batches")
    assert sentence("policy 3 cannot be pinned") == "Policy 3 cannot be pinned."


# the fleet


def test_every_mode_has_words() -> None:
    assert [*DOING] == [*Mode]


def test_a_robot_that_works_is_well() -> None:
    (card,) = fleet(a_run(), NOW_S)
    assert (card.name, card.doing, card.level) == (UNIT, "working", Level.GOOD)
    assert value(card.facts, "Policy") == "6, the newest"
    assert value(card.facts, "Missed ticks") == "2 of 12,345 (0.016 %)"
    assert value(card.facts, "Waiting to be sent") == "1 batch"
    assert value(card.facts, "Safety interventions") == "41"


def test_those_that_need_somebody_come_first() -> None:
    robots = [
        robot("a-well"),
        robot("b-silent", heard_s=NOW_S - 60.0),
        robot("c-faulty", mode=int(Mode.FAULT)),
        robot("d-stopped", stopped="smoke"),
    ]
    cards = fleet(a_run(robots=robots), NOW_S)
    assert [card.name for card in cards] == ["c-faulty", "d-stopped", "b-silent", "a-well"]
    assert [card.doing for card in cards] == ["fault", "stop ordered", "silent", "working"]


def test_the_lag_is_counted_in_versions_and_explained() -> None:
    behind = robot(UNIT, active_version=3, held_back="policy 3 is pinned here")
    (card,) = fleet(a_run(robots=[behind]), NOW_S)
    (policy,) = [fact for fact in card.facts if fact.label == "Policy"]
    assert (policy.value, policy.level) == ("3, 3 versions behind", Level.LOOK)
    assert policy.hint.endswith("policy 3 is pinned here")


def test_a_robot_of_old_tells_less_and_none_is_invented() -> None:
    old = robot(UNIT, waiting=msgspec.UNSET, interventions=msgspec.UNSET)
    (card,) = fleet(a_run(robots=[old]), NOW_S)
    assert value(card.facts, "Waiting to be sent") == "not told"
    assert value(card.facts, "Safety interventions") == "not told"


def test_a_field_unit_shows_its_release_and_what_became_of_the_last_one() -> None:
    proven = Release(running="a1", tried="a1", verdict="proven")
    back = Release(running="a1", tried="b2", verdict="taken back", reason="control hung")
    for said, shown, level in (
        (proven, "a1, proven", Level.PLAIN),
        (back, "a1, b2 was taken back", Level.LOOK),
    ):
        (card,) = fleet(a_run(robots=[robot(UNIT, release=said)]), NOW_S)
        (fact,) = [fact for fact in card.facts if fact.label == "Release"]
        assert (fact.value, fact.level) == (shown, level)
        assert fact.hint.endswith(said.reason)
    (bench,) = fleet(a_run(), NOW_S)
    assert "Release" not in [fact.label for fact in bench.facts]


def test_a_mode_of_a_newer_runtime_is_no_crash() -> None:
    card = robot_card(robot(UNIT, mode=200), a_run(), NOW_S)
    assert (card.doing, card.level) == ("unknown", Level.LOOK)


def test_after_the_servers_end_no_robot_is_called_silent() -> None:
    run = Run("r", status=STATUS, said_s=NOW_S, finished=True)
    (card,) = fleet(run, NOW_S + 9_000.0)
    assert card.doing == "working"
    assert "when the server ended" in card.meaning
    assert told(run, NOW_S + 9_000.0) == []


def test_the_server_tells_of_clocks_damage_and_refusals() -> None:
    run = a_run(clock_steps_back=2, damaged=1, refusals={"content": 3, "store failed": 1})
    facts = server_facts(run, NOW_S)
    assert value(facts, "Clock steps") == "2"
    assert value(facts, "Damaged batches") == "1"
    assert value(facts, "Messages refused") == "4"
    assert server_facts(Run("r"), NOW_S) == ()


# alarms


def test_all_well_is_no_alarm() -> None:
    assert told(a_run()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"damaged": 2}, "server: 2 batches in its store are not what was written."),
        ({"clock_steps_back": 1}, "robots: A clock ran backwards 1 time."),
        ({"refusals": {"content": 3}}, "server: Refused 3 messages: content."),
        ({"pinned": 4}, "policies: Robots stay with policy 4, which is pinned."),
        ({"disk_trouble": "archive: no space"}, "server: Archive: no space."),
        ({"pin_trouble": "policy 9 is not ours"}, "policies: Policy 9 is not ours."),
        ({"publish_trouble": "the root has changed"}, "server: The root has changed."),
        ({"unfit": ["not finite"]}, "policies: 1 policy could not be sent out: not finite."),
    ],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)
def test_what_the_server_knows_is_told(changes: dict[str, Any], words: str) -> None:
    assert told(a_run(**changes)) == [words]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"mode": int(Mode.FAULT)}, "It has stopped by itself with a fault."),
        ({"mode": int(Mode.ESTOP)}, "An emergency stop is latched."),
        ({"dropped": 7}, "7 records were lost on the robot."),
        ({"waiting": 900}, "900 batches wait to be sent."),
        ({"held_back": "pinned"}, "It does not take a newer policy: pinned."),
        (
            {"events": [PolicyEvent(number=1, version=5, outcome="rolled_back", reason="fell")]},
            "It went back from policy 5: fell.",
        ),
    ],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)
def test_what_a_robot_reports_is_told(report: dict[str, Any], words: str) -> None:
    assert told(a_run(robots=[robot(UNIT, **report)])) == [f"{UNIT}: {words}"]


def test_what_is_lost_for_good_is_told_with_its_reason() -> None:
    losses = [
        Loss(reason="disk full", gaps=1, records=40, unknown=0),
        Loss(reason="spool was damaged", gaps=1, records=0, unknown=1),
        Loss(reason="nothing between", gaps=1, records=0, unknown=0),
    ]
    hurt = msgspec.structs.replace(robot(UNIT), losses=losses)
    assert told(a_run(robots=[hurt])) == [
        f"{UNIT}: 40 of its records are lost for good: disk full.",
        f"{UNIT}: Nobody knows how many of its records are lost for good: spool was damaged.",
    ]


def test_a_silent_server_and_a_silent_robot_are_told_the_worse_first() -> None:
    run = a_run(robots=[robot(UNIT, heard_s=NOW_S - 20.0)])
    assert told(run, NOW_S + 90.0) == [
        "server: It last said how it is 90 seconds ago.",
        f"{UNIT}: Last heard 110 seconds ago.",
    ]


def test_while_the_server_is_busy_no_robot_is_called_silent() -> None:
    assert told(a_run(), NOW_S + 20.0) == []
    assert fleet(a_run(), NOW_S + 20.0)[0].doing == "working"


# strips


def test_strips_are_in_physical_units_and_end_now() -> None:
    found = {panel.title: panel for panel in panels(SHOWN, "arm")}
    assert [*found] == [
        "Action of arm", "Joint positions", "Joint angles, cosine", "Joint angles, sine",
        "Joint velocities", "Timing of the control loop",
    ]  # fmt: skip
    speed = found["Joint velocities"]
    scale = next(t.scale for t in SPEC.observation if t.kind == "velocity" and t.joint == "arm")
    newest = float(SHOWN.rows["obs"][::2][-1, 3]) / scale
    assert (speed.unit, [line.name for line in speed.lines]) == ("rad/s", ["arm", "pendulum"])
    assert speed.lines[0].values[-1] == pytest.approx(newest, rel=1e-3)
    assert speed.times_s[-1] == pytest.approx(0.0, abs=0.03)
    assert len(speed.times_s) == len(speed.lines[0].values) <= POINTS_MAX


def test_what_was_asked_and_what_was_done_lie_side_by_side() -> None:
    action = panels(SHOWN, "arm")[0]
    assert [(line.name, line.dashed) for line in action.lines] == [
        ("applied", False), ("requested", True),
    ]  # fmt: skip
    assert max(action.lines[0].values) == 1.0
    assert max(action.lines[1].values) > 1.1


def test_without_records_there_is_nothing_to_draw() -> None:
    assert panels(SHOWN._replace(rows=SHOWN.rows[:0]), "arm") == []


def test_the_newest_record_in_words() -> None:
    assert doing(SHOWN.rows) == "RUN, policy 6, episode 3, step 599"


# learning


def test_returns_know_who_drove_and_when_that_changed(made: Run) -> None:
    found = returns(made)
    assert len(found.totals) == len(found.versions) == 12
    assert found.changes == (3, 5, 7, 9, 11)
    assert found.explored[:3] == (False, False, True)


def test_the_share_of_prior_data_is_the_learners(made: Run) -> None:
    found = diet(made)
    assert found.steps[:2] == (250, 500)
    assert found.prior_share[1] == pytest.approx(0.48)
    assert found.model_error[0] is None


def test_progress_and_composition_are_told(made: Run) -> None:
    assert value(progress(made), "Episodes") == "12 of 24"
    facts = composition(made)
    assert value(facts, "From the source task") == "10,000 steps"
    assert value(facts, "Generated and kept") == "5,300 steps"
    assert value(facts, "Prior share") == "41 %"
    assert value(facts, "Learns from").startswith("prior data, relabelled")


def test_before_the_first_episode_nothing_is_claimed() -> None:
    fresh = Run("r")
    assert value(progress(fresh), "Last 5 episodes") == "–"
    assert composition(fresh) == ()
    assert returns(fresh).totals == ()


# prior data


def test_kept_and_dropped_are_told_apart_and_thinned() -> None:
    many = np.linspace(0.0, 1.0, 10_000)
    found = plane(Generated(many, many, many < 0.25))
    assert len(found.kept) + len(found.dropped) <= 2_000
    assert len(found.kept) == pytest.approx(500, abs=2)
    assert max(x for x, _ in found.kept) < 0.25


def test_an_honest_model_rises_and_a_blind_one_does_not() -> None:
    doubt = np.linspace(0.01, 1.0, 1_000)
    honest, blind = (
        reliability(HeldOut(doubt, 2.0 * doubt)),
        reliability(HeldOut(doubt, 1.0 - doubt)),
    )
    assert honest is not None
    assert blind is not None
    assert honest.rank_correlation == pytest.approx(1.0)
    assert [*honest.median] == sorted(honest.median)
    assert len(honest.uncertainty) == BINS
    assert blind.rank_correlation == pytest.approx(-1.0)


def test_too_few_steps_are_no_reliability() -> None:
    assert reliability(HeldOut(np.zeros(3), np.zeros(3))) is None


def test_generation_and_bound_in_words(made: Run) -> None:
    assert value(generation(made), "Generated") == "64 trajectories"
    facts = honesty(made)
    assert value(facts, "Lower bound held") == "92 % of the time, 90 % promised"
    assert value(facts, "Uncertainty").startswith("follows the error (")


def test_a_bound_that_could_not_be_given_says_why(made: Run) -> None:
    bound = {"bound": {"penalty": None, "reason": "5 episodes are too few", "stated": 0.9}}
    run = Run("r", generate_result=bound)
    assert value(honesty(run), "Lower bound") == "none: 5 episodes are too few"


# policies


def test_the_history_is_newest_first_with_what_changed(made: Run) -> None:
    policies = history(made)
    assert [policy.version for policy in policies] == [6, 5, 4, 3, 2, 1]
    newest, *_, second, first = policies
    assert newest.newest
    assert newest.outcomes == (f"{UNIT} took it over",)
    assert policies[1].outcomes == (f"{UNIT} kept it: after 2 episodes",)
    assert (first.expected, first.changes) == (None, ())
    assert first.measured == pytest.approx(99.2, abs=0.1)
    assert [change.label for change in second.changes] == ["Measured return"]
    (measured, expected) = newest.changes
    assert measured.level is Level.GOOD
    assert expected.text == "205 → 230 (+25)"


def test_an_episode_that_two_policies_drove_speaks_for_neither(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    event = {
        "event": "episode", "number": 13, "steps": 250, "length": 250, "total": 999.0, "end": 2,
        "versions": {"5": 10, "6": 240},
    }  # fmt: skip
    with (run / "metrics.jsonl").open("a") as log:
        log.write(f"{json.dumps(event)}\n")
    assert history(RunFiles(run).read())[0].episodes == 2


def test_a_pinned_policy_is_marked(made: Run) -> None:
    pinned = Run("r", status=status(pinned=3), events=made.events)
    assert [policy.version for policy in history(pinned) if policy.pinned] == [3]


# charts


def test_charts_carry_every_point_and_name_their_axes(made: Run) -> None:
    assert made.generated is not None
    assert made.held_out is not None
    found = reliability(made.held_out)
    assert found is not None
    charts = [
        returns_chart(returns(made), 208.7),
        diet_chart(diet(made)),
        source_chart(source_curve(made)),
        plane_chart(plane(made.generated)),
        reliability_chart(found),
        *(strip_chart(panel) for panel in panels(SHOWN, "arm")),
    ]
    for chart in charts:
        assert chart["xAxis"]["name"]
        assert all(series["data"] for series in chart["series"])
    exploring, quiet = charts[0]["series"][1:3]
    assert len(exploring["data"]) + len(quiet["data"]) == 12
    assert charts[0]["series"][0]["markLine"]["data"][0] == {"xAxis": 2.5}


# files


def test_a_server_that_has_not_spoken_yet_is_no_error(tmp_path: Path) -> None:
    run = RunFiles(make_run(tmp_path, status=None)).read()
    assert run.status is None
    assert (run.robots, run.troubles, fleet(run, NOW_S)) == ([], (), [])


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    place = make_run(tmp_path)
    files = RunFiles(place)
    assert files.read().events is files.read().events
    with (place / "metrics.jsonl").open("a") as log:
        log.write('{"event": "published", "version": 7}\n{"event": "publ')
    assert files.read().events[-1].version == 7


def test_a_damaged_file_is_named_and_the_last_good_one_stays(tmp_path: Path) -> None:
    place = make_run(tmp_path)
    files = RunFiles(place)
    files.read()
    (place / "status.json").write_bytes(b"{")
    run = files.read()
    assert run.status == STATUS
    assert "status.json cannot be read" in run.troubles[0]
    assert told(run, run.said_s)[0].startswith("this page: ")


def test_a_server_of_old_has_one_robot(tmp_path: Path) -> None:
    old = {"phase": "adapt", "report": msgspec.to_builtins(REPORT), "published": 6}
    place = make_run(tmp_path, status=None)
    (place / "status.json").write_text(json.dumps(old))
    run = RunFiles(place).read()
    assert [robot.name for robot in run.robots] == [UNIT]


def test_a_server_started_again_is_not_finished(tmp_path: Path) -> None:
    place = make_run(tmp_path)
    (place / "result.json").write_text('{"published": 6}')
    os.utime(place / "result.json", (NOW_S, NOW_S))
    os.utime(place / "status.json", (NOW_S - 1.0, NOW_S - 1.0))
    assert RunFiles(place).read().finished
    os.utime(place / "status.json", (NOW_S + 1.0, NOW_S + 1.0))
    assert not RunFiles(place).read().finished
