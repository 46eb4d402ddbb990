"""``wombet-offboard fleet deploy`` and its companions, as they are typed."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from made_fleet import HERE, made_workshop, our_wheel
from made_messages import LATER, SAID
from msgspec.structs import replace

from offboard.file_lock import refusing_lock, waiting_lock
from offboard.fleet.assignments import Assignment
from offboard.fleet.fleet_log import FleetLog
from offboard.fleet.rollout import Member, begin
from offboard.fleet.workshop import Workshop, given_wheel
from offboard.release_record import ReleaseRecord
from offboard.stages import deploy
from offboard.stages import fleet as stages_fleet
from offboard.stages.deploy import FleetPlaces, HowTo
from protocol.errors import ConfigError, StoreError
from protocol.messages import Report


@pytest.fixture
def places(tmp_path: Path) -> FleetPlaces:
    workshop = made_workshop(tmp_path)
    return FleetPlaces(workshop.fleet_path, workshop.keys, workshop.out)


def deployed(places: FleetPlaces) -> str:
    """A rollout in the log, as a deploy leaves one."""
    order = Assignment(release="0" * 16, target=HERE.name)
    log = FleetLog(places.out / "fleet.sqlite", "mira", time.time)
    log.keep(begin(1, {"bench": Member(order=order)}), [("bench", order.release, "assigned", "")])
    return order.release


def test_before_the_first_deploy_the_status_says_so(places: FleetPlaces, capsys) -> None:
    deploy.status(places)
    assert "nothing was ever deployed" in capsys.readouterr().out


def test_the_status_can_be_read_by_a_program(places: FleetPlaces, capsys) -> None:
    release = deployed(places)
    deploy.status(places, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["rollout"]["members"]["bench"]["order"]["release"] == release
    assert [event["operator"] for event in found["events"]] == ["mira"]


def test_a_halt_is_kept_with_its_reason(places: FleetPlaces, capsys) -> None:
    deployed(places)
    deploy.halt(places, "smoke")
    deploy.status(places)
    assert "rollout 1: halted, smoke" in capsys.readouterr().out


def test_who_is_provisioned_with_another_release_than_assigned_is_named(
    places: FleetPlaces, monkeypatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(stages_fleet, "provision", lambda *_: None)
    monkeypatch.setattr(stages_fleet, "_say", said.append)
    locks = places.out.parent / "requirements"
    workshop = Workshop(places.fleet, places.keys, places.out, locks, our_wheel)
    monkeypatch.setattr(stages_fleet, "Workshop", lambda *_: workshop)

    def provisioned() -> str:
        stages_fleet.provision_unit("bench", places.fleet, None, places.keys, places.out)
        return " ".join(said)

    assert "goes back" not in provisioned(), "nothing was ever assigned"
    deployed(places)
    assert f"is assigned {'0' * 16} and goes back to that" in provisioned()


def test_who_is_provisioned_with_what_it_is_assigned_stays(places: FleetPlaces) -> None:
    release = deployed(places)
    assert deploy.assignment_text(places, "bench", release) == ""
    assert "make deploy" in deploy.assignment_text(places, "bench", "1" * 16)


def test_a_fleet_that_was_never_enrolled_is_told_what_to_do(places: FleetPlaces) -> None:
    with pytest.raises(ConfigError, match="no unit of the fleet is enrolled"):
        deploy._deployment(places, HowTo()).deploy({HERE: "0" * 16})


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_batch_is_a_share_of_the_units(places: FleetPlaces, share: float) -> None:
    with pytest.raises(ConfigError, match="--share"):
        deploy.promote(places, HowTo(share=share))


def test_a_wheel_that_was_built_elsewhere_is_taken_as_it_is(tmp_path: Path) -> None:
    name, data = our_wheel()
    (tmp_path / name).write_bytes(data)
    assert given_wheel(tmp_path / name)() == (name, data)
    with pytest.raises(ConfigError, match=r"none\.whl cannot be read"):
        given_wheel(tmp_path / "none.whl")()


def test_a_lock_is_held_by_one_at_a_time_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "place" / "lock"
    with refusing_lock(path, "taken"), pytest.raises(ConfigError, match="taken"):
        refusing_lock(path, "taken").__enter__()
    with waiting_lock(path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        waiting_lock(tmp_path / "file" / "lock").__enter__()


def served(tmp_path: Path, name: str = "run") -> Path:
    """A run of serve that has heard two units."""
    run, now_s = tmp_path / name, iter([1e9, 1e9 + 60.0])
    run.mkdir()
    (run / "config.json").write_text("{}")
    record = ReleaseRecord(run, lambda: next(now_s))
    report = LATER["report of a unit"]
    assert isinstance(report, Report)
    record.heard("bench", report)
    record.heard("duck", replace(report, release=replace(SAID, tried="a", running="a")))
    record.write()
    return run


def test_the_status_of_a_run_is_entered_once_and_shown_from_then_on(
    places: FleetPlaces, tmp_path: Path, capsys
) -> None:
    run = served(tmp_path)
    for given in ((run,), (run, run), ()):
        deploy.status(places, run=given)
        out = capsys.readouterr().out
        assert "nothing was ever deployed" in out
        assert out.count("reported taken back") == 2, "one event of each unit"
        assert f"bench            {SAID.tried}  taken back  " in out
        assert f"runs {SAID.running}; control ended" in out
    deploy.status(places, json=True, unit="duck")
    found = json.loads(capsys.readouterr().out)
    assert found["said"].keys() == {"duck"}
    assert found["said"]["duck"]["at_s"] == 1e9 + 60.0
    assert [event["unit"] for event in found["events"]] == ["duck"]


def test_a_deploys_own_events_stay_beside_what_units_say(
    places: FleetPlaces, tmp_path: Path, capsys
) -> None:
    deployed(places)
    deploy.status(places, run=(served(tmp_path),))
    out = capsys.readouterr().out
    assert "mira  bench 0000000000000000  assigned" in out
    assert f"itself  bench {SAID.tried}  reported taken back" in out


def test_a_run_that_is_not_there_enters_nothing(places: FleetPlaces, tmp_path: Path) -> None:
    run = served(tmp_path)
    with pytest.raises(StoreError, match="typo is no run of serve; name the --out"):
        deploy.status(places, run=(run, tmp_path / "typo"))
    assert not (places.out / "fleet.sqlite").exists()


def test_a_log_of_the_release_before_takes_units_words(places: FleetPlaces, tmp_path: Path) -> None:
    """Its file has the table, with entries, and nothing else is asked of it."""
    deployed(places)
    with closing(sqlite3.connect(places.out / "fleet.sqlite")) as database:
        before = database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    deploy.status(places, run=(served(tmp_path),))
    with closing(sqlite3.connect(places.out / "fleet.sqlite")) as database:
        assert database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before
        with pytest.raises(sqlite3.DatabaseError, match="only added"):
            database.execute("DELETE FROM events WHERE what LIKE 'reported%'")
