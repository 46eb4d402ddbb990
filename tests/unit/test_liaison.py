"""Is a bundle that has just arrived offered at once, and control left in peace otherwise?"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_records import make_records
from msgspec import UNSET, UnsetType

from onboard.bundle_store import Update
from onboard.event_log import EventLog
from onboard.liaison import Liaison
from onboard.spool import Spool, open_spool
from onboard.version_floor import Floor
from protocol.errors import WireError
from protocol.messages import Release, Report, decode_to_server, encode


class Control:
    """Away; counts how often it was asked."""

    asked = 0

    def status(self) -> Any:
        self.asked += 1
        raise WireError("control is not running")


class Uplink:
    policy_version = 0

    def take_halt(self) -> str:
        return ""


class Courier:
    """Brings what a test puts there."""

    trouble = ""
    update: Update | None = None

    def step(self, *_: Any) -> Update | None:
        update, self.update = self.update, None
        return update


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(open_spool(tmp_path / "spool.sqlite")) as spool:
        yield spool


def test_a_bundle_that_arrived_does_not_wait_for_the_next_round(
    spool: Spool, tmp_path: Path
) -> None:
    control, courier = Control(), Courier()
    parts: list[Any] = [control, None, courier, Uplink()]
    liaison = Liaison(*parts, spool, EventLog(io.StringIO(), lambda: 0.0), tmp_path / "floor")
    liaison.step(0.0)
    liaison.step(0.1)
    assert control.asked == 1
    courier.update = Update(Floor(), version=0)  # only the signatures were renewed
    liaison.step(0.2)
    assert control.asked == 1
    courier.update = Update(Floor(bundle=3), version=3)
    liaison.step(0.3)
    assert control.asked == 2


class Present(Control):
    def status(self) -> Any:
        return SimpleNamespace(
            pid=1, scheduling="soft", mode="RUN", active_version=3, pinned_version=0,
            committed_versions=[], ticks=9, missed_ticks=1, produced=9, dropped=2, events=[],
            changes=[], interventions=7,
        )  # fmt: skip


def test_a_report_tells_what_waits_in_the_spool_and_what_the_envelope_changed(
    spool: Spool, tmp_path: Path
) -> None:
    class Told(Uplink):
        heard: Report | None = None

        def report(self, report: Report) -> None:
            self.heard = report

    uplink, store = Told(), SimpleNamespace(held=list)
    parts: list[Any] = [Present(), store, Courier(), uplink]
    liaison = Liaison(*parts, spool, EventLog(io.StringIO(), lambda: 0.0), tmp_path / "floor")
    for now_s, waiting in ((0.0, 0), (2.0, 1)):
        liaison.step(now_s)
        assert uplink.heard is not None
        assert (uplink.heard.waiting, uplink.heard.interventions) == (waiting, 7)
        assert uplink.heard.dropped == 2, "the ring's, as long as the disk takes the rest"
        spool.append(make_records(0, 10))
    spool.rejected = 5
    liaison.step(4.0)
    assert uplink.heard.dropped == 2 + 5


def test_the_last_words_of_control_are_noted_when_the_agent_ends(
    spool: Spool, tmp_path: Path
) -> None:
    class Leaving(Control):
        def status(self) -> Any:
            change = SimpleNamespace(number=1, at_ns=7, old="RUN", new="IDLE", reason="STOP")
            return SimpleNamespace(pid=5, scheduling="fifo", changes=[change], events=[])

    log = io.StringIO()
    parts: list[Any] = [Leaving(), None, Courier(), Uplink()]
    Liaison(*parts, spool, EventLog(log, lambda: 4.5), tmp_path / "floor").take_leave()
    assert '"new":"IDLE","reason":"STOP"' in log.getvalue()
    gone = Liaison(Control(), *parts[1:], spool, EventLog(log, lambda: 9.5), tmp_path / "floor")
    gone.take_leave()
    assert '"time_s":9.5,"event":"control","state":"away"' in log.getvalue()


def test_a_report_tells_what_the_journal_of_releases_says(spool: Spool, tmp_path: Path) -> None:
    sent: list[bytes] = []

    class Sending(Uplink):
        def report(self, report: Report) -> None:
            sent.append(encode(report))

    said: list[Release | UnsetType] = [UNSET, Release(running="a", tried="b", verdict="taken back")]
    words, asked_s = iter(said), []

    def word(now_s: float) -> Release | UnsetType:
        asked_s.append(now_s)
        return next(words)

    parts: list[Any] = [Present(), SimpleNamespace(held=list), Courier(), Sending()]
    log = EventLog(io.StringIO(), lambda: 0.0)
    liaison = Liaison(*parts, spool, log, tmp_path / "floor", word)
    liaison.step(0.0)
    liaison.step(2.0)
    heard = [decode_to_server(data) for data in sent]
    assert [report.release for report in heard if isinstance(report, Report)] == said
    assert asked_s == [0.0, 2.0]
