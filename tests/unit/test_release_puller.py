"""The agent's part: a release fetched without rights, over and over until it lies there whole."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_unit import HEALTH_S, TARGET, UNIT, FieldUnit, PowerCut
from tuf.api.exceptions import DownloadError

from onboard.bundle_fetcher import DirectoryFetcher
from onboard.event_log import EventLog
from onboard.releases.inbox import READY
from onboard.releases.install_steps import Step
from onboard.releases.journal import Phase
from onboard.releases.puller import LOOK_S, Delivery, Puller, delivery_over
from onboard.wall_clock import WallClock
from protocol.errors import BundleError, StoreError

Usage = namedtuple("Usage", "total used free")


class Line(DirectoryFetcher):
    """A server at the end of a line that breaks after so many bytes of an archive."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.left: int | None = None
        self.asked: list[tuple[str, int]] = []

    def rest(self, url: str, offset: int) -> Iterator[bytes]:
        self.asked.append((url, offset))
        data = b"".join(super().rest(url, offset))
        if self.left is not None and "tar.zst" in url:
            yield data[: self.left]
            raise DownloadError("the line is dead")
        yield data


@pytest.fixture(autouse=True)
def no_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Agent:
    """The agent of a field unit."""

    def __init__(self, place: Path) -> None:
        self.unit = FieldUnit(place)
        self.line = Line(self.unit.site.repository)
        self.paths = self.unit.paths
        state = place / "enrolled"
        clock = WallClock(lambda: True)
        self.deliver: Delivery = delivery_over(self.line, UNIT, self.paths, state, clock)

    @property
    def archives(self) -> list[Path]:
        return sorted((self.paths.inbox / "targets" / "release" / TARGET).iterdir())

    def install(self) -> str:
        """As root does when systemd has seen the file change."""
        depot = self.unit.depot(self.paths.inbox)
        return self.unit.installer().install(depot, HEALTH_S, 3.0).verdict


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def test_what_is_delivered_root_installs(agent):
    new = agent.unit.assign("new")
    assert agent.deliver() == new
    assert (agent.paths.inbox / READY).read_text() == f"{new}\n"
    assert agent.install() == "installed"
    assert agent.unit.assert_sound() == new


def test_release_after_release_through_new_lists(agent):
    for word in ("one", "two", "three"):
        name = agent.unit.assign(word)
        assert agent.deliver() == name
        assert agent.install() == "installed"
        assert len(agent.archives) == 1
        assert len(list((agent.paths.inbox / "metadata").iterdir())) == 4


def test_what_runs_is_not_fetched_and_its_archive_makes_room(agent):
    agent.unit.assign("new")
    agent.deliver()
    agent.install()
    assert agent.deliver() == ""
    assert agent.archives == []


def test_a_delivery_that_was_made_is_offered_again_without_fetching(agent):
    agent.unit.assign("new")
    agent.deliver()
    before = len([url for url, _ in agent.line.asked if "tar.zst" in url])
    (agent.paths.inbox / READY).unlink()
    agent.deliver()
    assert (agent.paths.inbox / READY).exists()
    assert len([url for url, _ in agent.line.asked if "tar.zst" in url]) == before


def test_what_root_keeps_refusing_is_offered_less_and_less_until_it_is_something_new(agent):
    ready = agent.paths.inbox / READY

    def offered_now() -> bool:
        ready.unlink(missing_ok=True)
        agent.deliver()
        return ready.exists()

    agent.unit.assign("new")
    offered = [look for look in range(1, 25) if offered_now()]
    assert offered == [1, 2, 4, 8, 16, 24]
    agent.unit.assign("newer")
    assert offered_now()


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(agent):
    new = agent.unit.assign("new")
    agent.line.left = 20
    for _ in range(3):
        with pytest.raises(BundleError, match="line is dead"):
            agent.deliver()
    agent.line.left = None
    assert agent.deliver() == new
    offsets = [offset for url, offset in agent.line.asked if "tar.zst" in url]
    assert offsets == [0, 20, 40, 60]
    assert agent.install() == "installed"


def test_what_came_wrong_is_thrown_away_and_fetched_anew(agent):
    new = agent.unit.assign("new")
    agent.line.left = 20
    with pytest.raises(BundleError):
        agent.deliver()
    (part,) = agent.archives
    part.write_bytes(b"x" * 20)
    agent.line.left = None
    with pytest.raises(BundleError, match="not what was signed"):
        agent.deliver()
    assert agent.deliver() == new


def test_more_than_was_signed_is_not_taken(agent):
    agent.unit.assign("new")
    (path,) = (agent.unit.site.repository / "targets" / "release" / TARGET).iterdir()
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(BundleError, match="longer than"):
        agent.deliver()


def test_a_trial_that_lost_its_judge_is_taken_up_again_without_a_server(agent):
    new = agent.unit.assign("new")
    agent.deliver()
    agent.unit.cut_at = Step.STARTED
    with pytest.raises(PowerCut):
        agent.install()
    agent.unit.cut_at = None
    shutil.rmtree(agent.unit.site.repository)
    (agent.paths.inbox / READY).unlink()
    assert agent.deliver() == ""
    assert (agent.paths.inbox / READY).exists()
    assert agent.install() == "already"
    assert agent.unit.journal().phase is Phase.SETTLED
    assert agent.unit.assert_sound() == new


def test_records_keep_their_room_on_the_disk(agent, monkeypatch):
    agent.unit.assign("new")
    usage = "onboard.releases.download.shutil.disk_usage"
    monkeypatch.setattr(usage, lambda path: Usage(0, 0, 200 << 20))
    with pytest.raises(BundleError, match="256 MiB must stay free"):
        agent.deliver()


def test_a_release_that_was_taken_back_is_not_fetched_again(agent):
    bad = agent.unit.assign("bad")
    agent.unit.services.deeds[bad] = "crash"
    agent.deliver()
    assert agent.install() == "rolled_back"
    with pytest.raises(BundleError, match="taken back"):
        agent.deliver()


def test_a_unit_without_a_line_fetches_nothing(agent):
    text = json.dumps({"schema": 1, "counter": 1, "units": {}})
    agent.unit.site.publish({"fleet/assignments.json": text.encode()})
    with pytest.raises(BundleError, match="no line"):
        agent.deliver()


def test_what_the_agent_was_made_to_lay_down_root_does_not_believe(agent):
    """Whoever has taken the agent over writes what he likes into the inbox."""
    new = agent.unit.assign("new")
    agent.deliver()
    (archive,) = agent.archives
    archive.write_bytes(b"x" * archive.stat().st_size)
    assert agent.install() == "refused"
    (lists,) = (agent.paths.inbox / "targets" / "fleet").iterdir()
    lists.write_bytes(lists.read_bytes().replace(new.encode(), b"0" * 16))
    assert agent.install() == "refused"
    assert agent.unit.assert_sound() == agent.unit.golden


def test_a_link_in_the_inbox_leads_root_nowhere(agent, tmp_path):
    agent.unit.assign("new")
    agent.deliver()
    (archive,) = agent.archives
    secret = tmp_path / "secret"
    archive.rename(secret)
    archive.symlink_to(secret)
    assert agent.install() == "refused"


class Worker:
    """What a puller drives: deliveries in the order of ``outcomes``."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.stream = io.StringIO()
        self.cancelled = self.closed = False
        log = EventLog(self.stream, lambda: 0.0)
        self.puller = Puller(self, self, log, lambda: 0.5)

    def __call__(self) -> str:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.closed = True

    def turn(self, now_s: float) -> None:
        """One that starts a look, and one after it is over."""
        self.puller.step(now_s)
        if self.puller._running is not None:
            self.puller._running.exception(10)
            self.puller.step(now_s)

    @property
    def said(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def test_a_puller_looks_once_a_minute_and_says_what_is_new():
    worker = Worker("", "abc", "abc")
    worker.turn(0.0)
    assert len(worker.outcomes) == 3, "what is more urgent goes first"
    for now_s in (10.0, 11.0, 10.0 + LOOK_S, 10.0 + 2 * LOOK_S):
        worker.turn(now_s)
    assert worker.outcomes == []
    assert [(line["event"], line["state"]) for line in worker.said] == [
        ("release_delivered", "abc")
    ]
    worker.puller.close()
    assert worker.cancelled
    assert worker.closed


@pytest.mark.parametrize("error", [BundleError("no"), StoreError("full"), ValueError("odd bytes")])
def test_trouble_is_said_and_ends_nothing(error):
    worker = Worker(error, "abc")
    worker.turn(0.0)
    worker.turn(10.0)
    assert str(error) in worker.said[-1]["state"]
    worker.turn(10.0 + LOOK_S)
    assert worker.said[-1] == {"time_s": 0.0, "event": "release_trouble", "state": ""}
    worker.puller.close()
