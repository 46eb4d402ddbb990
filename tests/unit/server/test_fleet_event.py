"""Do units' own words come into the fleet's log once each, with the time they were heard?"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_fleet import HERE
from msgspec.structs import replace

from offboard.fleet.assignments import Assignment
from offboard.fleet.fleet_event import THE_UNIT, last_said, reported, unentered
from offboard.fleet.fleet_log import FleetLog
from offboard.fleet.rollout import Member, begin
from offboard.release_changes import Heard
from protocol.messages import Release

OLD, NEW = "0" * 16, "1" * 16
TRIAL = Release(running=NEW, tried=NEW, verdict="trial", at_s=50)
PROVEN = replace(TRIAL, verdict="proven", at_s=60)
BACK = Release(running=OLD, tried=NEW, verdict="taken back", reason="control hung", at_s=61)
SETTLED = Release(running=OLD, tried=OLD, verdict="settled")


def heard(at_s: float, said: Release, robot: str = "duck", unwritten: int = 0) -> Heard:
    return Heard(at_s=at_s, robot=robot, said=said, unwritten=unwritten)


RUN = [heard(1000.0, TRIAL), heard(1001.0, SETTLED, "goose"), heard(1060.0, PROVEN)]


@pytest.fixture
def log(tmp_path: Path) -> FleetLog:
    return FleetLog(tmp_path / "fleet.sqlite", "mira", lambda: 5e8)


def test_a_line_becomes_an_event_of_the_unit_at_the_time_it_was_heard() -> None:
    proven, back = reported([heard(1060.0, PROVEN), heard(1061.0, BACK, unwritten=3)])
    assert (proven.at_s, proven.unit, proven.operator) == (1060.0, "duck", THE_UNIT)
    assert (proven.release, proven.what) == (NEW, "reported proven")
    assert proven.reason == "at 1970-01-01 00:01:00Z by its clock"
    assert (back.release, back.what) == (NEW, "reported taken back")
    assert back.reason == (
        f"runs {OLD}; control hung; at 1970-01-01 00:01:01Z by its clock; "
        "3 changes before it were not written down"
    )


def test_the_last_clock_there_is_can_be_told() -> None:
    (event,) = reported([heard(2.0**32, replace(PROVEN, at_s=2**32 - 1))])
    assert "2106-02-07" in event.reason


def test_entering_twice_doubles_nothing(log: FleetLog) -> None:
    assert log.enter(reported(RUN)) == 3
    assert log.enter(reported(RUN)) == 0
    assert log.enter(reported([*RUN, heard(1090.0, BACK)])) == 1
    assert [event.at_s for event in log.events()] == [1000.0, 1001.0, 1060.0, 1090.0]


def test_lines_of_one_instant_are_not_doubled_either(log: FleetLog) -> None:
    at_once = [heard(1000.0, TRIAL), heard(1000.0, PROVEN)]
    assert [log.enter(reported(at_once)) for _ in range(3)] == [2, 0, 0]


def test_what_another_run_hears_anew_is_no_news(log: FleetLog) -> None:
    log.enter(reported(RUN))
    assert log.enter(reported([heard(2000.0, PROVEN), heard(2000.0, SETTLED, "goose")])) == 0
    flashed_again = [heard(3000.0, replace(SETTLED, running=NEW, tried=NEW), "goose")]
    assert log.enter(reported(flashed_again)) == 1
    assert log.enter(reported([heard(4000.0, SETTLED, "goose")])) == 1, "and back"
    assert last_said(log.reported())["goose"].at_s == 4000.0


def test_an_older_run_that_is_entered_later_is_put_in_order(log: FleetLog) -> None:
    log.enter(reported([heard(2000.0, BACK)]))
    assert log.enter(reported([heard(1000.0, TRIAL)])) == 1
    assert [event.what for event in log.events()] == ["reported trial", "reported taken back"]
    assert last_said(log.reported())["duck"].what == "reported taken back"


def test_an_event_names_the_rollout_that_assigned_the_release(log: FleetLog) -> None:
    member = Member(order=Assignment(release=NEW, target=HERE.name))
    log.keep(begin(7, {"duck": member}), [("duck", NEW, "assigned", "")])
    log.enter(reported(RUN))
    found = {(event.unit, event.what): event.rollout for event in log.reported()}
    assert found["duck", "reported proven"] == 7
    assert found["goose", "reported settled"] == 0
    latest = log.latest()
    assert latest is not None
    assert latest.number == 7


def test_a_robot_cannot_pass_for_an_operator(log: FleetLog) -> None:
    """Its words stand behind ``reported``, whatever they are: deploys read ``assigned``."""
    log.enter(reported([heard(1.0, replace(TRIAL, verdict="assigned"))]))
    (event,) = log.events()
    assert event.what == "reported assigned"
    assert log.ordered("duck") == ""


def test_many_lines_are_entered_in_one_go() -> None:
    lines = [heard(float(n), replace(TRIAL, at_s=n)) for n in range(2000)]
    events = reported(lines)
    assert unentered([], events) == events
    assert unentered(events, events) == []
