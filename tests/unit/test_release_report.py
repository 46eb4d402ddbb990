"""A unit installs by itself: does the fleet's log hear what became of it, and when?"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_link import Link, Robot, Server
from made_records import SPEC
from made_unit import FieldUnit

from offboard.fleet.fleet_event import last_said, reported
from offboard.fleet.fleet_log import FleetLog
from offboard.reception import Reception
from offboard.release_record import ReleaseRecord, lines_of
from onboard.event_log import EventLog
from onboard.liaison import Liaison
from onboard.releases.last_word import LastWord

STATUS = SimpleNamespace(
    pid=1, scheduling="soft", mode="IDLE", active_version=0, pinned_version=0,
    committed_versions=[], ticks=9, missed_ticks=0, produced=0, dropped=0, events=[], changes=[],
    interventions=0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Field:
    """A unit, the link to its server, and the server's run."""

    def __init__(self, place: Path) -> None:
        self.unit, self.run = FieldUnit(place / "site"), place / "run"
        self.run.mkdir()
        (self.run / "config.json").write_text("{}")
        self.now_s, self.link = 0.0, Link()
        self.robot = Robot(place / "spool.sqlite", self.link)
        self.server = Server(place / "episodes.sqlite")
        self.serve()
        log = EventLog(io.StringIO(), lambda: 0.0)
        control = SimpleNamespace(status=lambda: STATUS)
        courier = SimpleNamespace(step=lambda *_: None, trouble="")
        store = SimpleNamespace(held=list)
        parts: list[Any] = [control, store, courier, self.robot.uplink, self.robot.spool, log]
        word = LastWord(self.unit.paths.journal, log)
        self.liaison = Liaison(*parts, place / "floor", word)

    def serve(self) -> None:
        """A server starts over the run."""
        self.record = ReleaseRecord(self.run, lambda: 1e9 + self.now_s)
        self.record.recall()
        self.server.reception = Reception(
            self.server.store, SPEC, self.run, on_report=self.record.heard
        )
        self.link.cut()

    def pass_s(self, seconds: int) -> list[tuple[float, str, str]]:
        """Everybody does what is due; returns what the server has on record then."""
        for _ in range(seconds):
            self.now_s += 1.0
            self.liaison.step(self.now_s)
            self.robot.uplink.step(self.now_s)
            self.server.handle(self.link, 99)
            self.robot.uplink.step(self.now_s)
        self.record.write()
        return [(line.at_s, line.said.tried, line.said.verdict) for line in lines_of(self.run)]


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    field = Field(tmp_path)
    with closing(field.robot.spool), closing(field.server.store):
        yield field


def test_what_a_unit_takes_by_itself_and_takes_back_is_in_the_log(
    field: Field, tmp_path: Path
) -> None:
    assert field.pass_s(3) == [], "as it was flashed it has no journal yet"
    good = field.unit.assign("good")
    assert field.unit.install().verdict == "installed"
    proven = (1e9 + 4.0, good, "proven")
    assert field.pass_s(20) == [proven]
    bad = field.unit.assign("bad")
    field.unit.services.deeds[bad] = "crash"
    assert field.unit.install().verdict == "rolled_back"
    assert field.pass_s(5) == [proven, (1e9 + 24.0, bad, "taken back")]
    log = FleetLog(tmp_path / "fleet.sqlite", "mira", lambda: 2e9)
    assert [log.enter(reported(lines_of(field.run))) for _ in range(2)] == [2, 0]
    told = last_said(log.reported())["r"]
    assert (told.release, told.what, told.at_s) == (bad, "reported taken back", 1e9 + 24.0)
    assert told.reason.startswith(f"runs {good}; control ")


def test_a_server_that_was_away_hears_how_it_ended(field: Field) -> None:
    """The streams begin anew at both ends, and nothing is written twice."""
    field.unit.assign("good")
    field.unit.install()
    before = field.pass_s(5)
    field.serve()
    bad = field.unit.assign("bad")
    field.unit.services.deeds[bad] = "hang"
    field.unit.install()
    after = field.pass_s(60)
    assert after[:-1] == before
    assert after[-1][1:] == (bad, "taken back")
