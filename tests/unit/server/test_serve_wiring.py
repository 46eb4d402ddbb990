"""Does ``serve`` publish the kind of policy it was asked for?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors
import torch
from made_learning import (
    JUDGE,
    LAYOUT,
    SMALL_MODEL,
    SMALL_SAC,
    A,
    O,
    episode_rows,
    linear_transitions,
)
from made_messages import LATER
from made_records import ROBOT_FILE
from made_store import deliver, held_records

from offboard.archive_index import ArchiveIndex
from offboard.ceremony import rotate_role
from offboard.data.retention import Retention
from offboard.finetune import Learner
from offboard.keys import OFFLINE_DIRECTORY, init_server, load_server_keys
from offboard.planner_policy import SearchConfig
from offboard.policy_pin import pin_policy
from offboard.publish import open_repository
from offboard.release_record import RELEASES_FILE
from offboard.replay import Batch
from offboard.roles import utc_now
from offboard.run_dir import RunDir
from offboard.sac import Sac, SacConfig
from offboard.serve_status import read_status
from offboard.session import Session
from offboard.session_plan import SessionConfig
from offboard.stages import serve
from offboard.stages.serve_wiring import (
    LEARNER,
    Prior,
    ServeConfig,
    Server,
    _open_session,
    open_server,
)
from offboard.stages.source import Source
from offboard.stages.troubles import AGAIN_S, Troubles
from offboard.switch import Course
from offboard.task_setup import TaskSetup, load_task
from offboard.world_model import WorldModel
from protocol.errors import StoreError
from protocol.messages import Report

pytestmark = pytest.mark.usefixtures("eager")

DATA = linear_transitions(200, seed=0)


def prior(data: Batch = DATA) -> Prior:
    """A source run that learned nothing; its first half was random."""
    sac, model = Sac(O, A, 0.98, SMALL_SAC), WorldModel(LAYOUT, JUDGE, SMALL_MODEL)
    untrained = sac.initial(seed=0), model.initial(DATA, seed=0)
    config = {
        "model": asdict(SMALL_MODEL), "sac": asdict(replace(SMALL_SAC, lr=1e-3)),
        "online": {"random_steps": 100},
    }  # fmt: skip
    return Prior(Source(*untrained, data, data.obs[:1], {}, config), data)


def short_episodes(ticks: int) -> TaskSetup:
    """The robot's task, in episodes of so many ticks."""
    setup = load_task(ROBOT_FILE, "swing_up")
    task = msgspec.structs.replace(setup.spec.task("swing_up"), episode_steps=ticks)
    spec = msgspec.structs.replace(setup.spec, tasks={"swing_up": task})
    return replace(setup, spec=spec)


def opened(
    kind: str, place: Path, known: Prior | None = None
) -> tuple[Session, Learner, Path, RunDir]:
    """A session of a new server, its learner, its repository and its run."""
    keys = init_server(place / "keys")
    repository = open_repository(place / "repository", keys.trust)
    config = ServeConfig(
        robot=ROBOT_FILE, task="swing_up", unit="one", source=place, generated=place, keys=place,
        policy=kind, search=SearchConfig(horizon=1, pairs=1), sac=SMALL_SAC,
        session=SessionConfig(zero_shot_episodes=1),
    )  # fmt: skip
    setup, ingest, run = short_episodes(3), SimpleNamespace(), RunDir(place)
    session, learner = _open_session(config, setup, known or prior(), repository, ingest, run)
    return session, learner, repository.directory, run


@pytest.mark.parametrize(("kind", "searches"), [("actor", False), ("planner", True)])
def test_the_published_policy_is_of_the_kind_asked_for(kind, searches, tmp_path: Path) -> None:
    session, _, repository, run = opened(kind, tmp_path)
    session.begin()
    (weights,) = repository.rglob("*.safetensors")
    with safetensors.safe_open(weights, framework="numpy") as file:
        assert ("search.pushes" in file.keys()) is searches  # noqa: SIM118  no mapping
    session.push(episode_rows(1))
    session.turn()
    first, second = run.metrics()
    assert "imagined_return" not in first
    assert 0.0 <= second["imagined_return"] <= 3.0


@pytest.mark.parametrize(("random", "course"), [(2.0, Course.SCRATCH), (-2.0, Course.FINETUNE)])
def test_a_source_policy_worse_than_random_actions_is_given_up(
    random: float, course: Course, tmp_path: Path
) -> None:
    reward = torch.cat([torch.full((100,), random), DATA.reward[100:]])
    _, learner, _, _ = opened("actor", tmp_path, prior(DATA._replace(reward=reward)))
    learner.observe(linear_transitions(250, seed=1))
    learner.adapt()
    assert learner.evidence.course is course


def test_a_warm_start_takes_smaller_steps_than_the_source_did() -> None:
    place = Path()
    config = ServeConfig(
        robot=place, task="", unit="", source=place, generated=place, keys=place
    )  # fmt: skip
    assert config.sac.lr < SacConfig().lr
    assert config.sac.alpha_min > 0.0


@contextmanager
def started(place: Path) -> Iterator[Server]:
    """A server that keeps as little as it may, of robot ``one``."""
    config = ServeConfig(
        robot=ROBOT_FILE, task="swing_up", unit="one", source=place, generated=place,
        keys=place / "keys", sac=SMALL_SAC, retention=Retention(budget_mb=0.0),
    )  # fmt: skip
    keys = load_server_keys(config.keys)
    server = open_server(config, short_episodes(3), keys, prior(), RunDir(place))
    with closing(server.store):
        yield server
    server.ingest._door._context.term()


def test_a_restarted_server_learns_again_what_retention_put_away(tmp_path: Path) -> None:
    init_server(tmp_path / "keys")
    with started(tmp_path) as server:
        rows = [episode_rows(number, 3, first=4 * number) for number in range(5)]
        deliver(server.store, np.concatenate(rows), "one")
        serve._archive(server, RunDir(tmp_path), Troubles(RunDir(tmp_path)))
        assert held_records(server.store, "one") == []
    with started(tmp_path) as server:
        assert [episode.number for episode in server.session.episodes] == [*range(5)]
        assert server.learner.online.added == 15


def test_once_it_is_settled_nothing_need_be_kept(tmp_path: Path) -> None:
    init_server(tmp_path / "keys")
    with started(tmp_path) as server:
        assert server.pruner.keep == {"one"}
        server.session.begin()
        server.session.settled = server.session.version
        RunDir(tmp_path).save(LEARNER, server.session.tensors())
    with started(tmp_path) as server:
        assert server.pruner.keep == frozenset()


def test_a_pin_that_cannot_go_out_is_reported_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_server(tmp_path / "keys")
    (tmp_path / "config.json").write_text("{}")

    def full(*_: object) -> int:
        raise StoreError("the disk is full")

    with started(tmp_path) as server:
        server.session.begin()
        pin_policy(tmp_path, 1)
        with monkeypatch.context() as broken:
            broken.setattr(server.session, "_publish", full)
            serve._follow_pin(server)
        assert (server.pin_trouble, server.session.pinned) == ("the disk is full", 0)
        serve._follow_pin(server)
        assert server.session.pinned == 0, "not at once"
        server.pin_tried_s -= 2 * serve.PIN_AGAIN_S
        serve._follow_pin(server)
        assert (server.pin_trouble, server.session.pinned) == ("", 1)


def test_a_server_whose_keys_were_retired_says_so_and_goes_on(tmp_path: Path) -> None:
    """What arrives after the change is still learned from."""
    init_server(tmp_path / "keys")
    with started(tmp_path) as server:
        server.session.begin()
        rotate_role(
            tmp_path / "keys", [tmp_path / "keys" / OFFLINE_DIRECTORY], "snapshot", utc_now()
        )
        open_repository(server.repository.directory, load_server_keys(tmp_path / "keys").trust)
        for number in range(3):
            server.arrivals.put(episode_rows(number, 3, first=4 * number))
        turns = SimpleNamespace(is_set=iter([*[False] * 12, True]).__next__)
        troubles = Troubles(RunDir(tmp_path))
        serve._learn(server, "one", RunDir(tmp_path), turns, troubles)
        serve._show(server, "one", RunDir(tmp_path), troubles)
        assert troubles.present == {}
        assert server.learner.online.added == 9
    status = read_status(tmp_path)
    assert status is not None
    assert "restart it" in status.publish_trouble
    assert status.phase == "adapt"


def test_what_a_unit_says_of_its_releases_is_written_and_remembered(tmp_path: Path) -> None:
    init_server(tmp_path / "keys")
    run, report = RunDir(tmp_path), LATER["report of a unit"]
    assert isinstance(report, Report)
    with started(tmp_path) as server:
        server.session.begin()
        server.ingest._reception._on_report("one", report)
        serve._show(server, "one", run, Troubles(run))
    with started(tmp_path) as server:
        server.releases.recall()
        server.ingest._reception._on_report("one", report)
        server.releases.write()
    (line,) = lines_of_file(tmp_path)
    assert (line["robot"], line["said"]["verdict"]) == ("one", "taken back")


def lines_of_file(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / RELEASES_FILE).read_text().splitlines()]


def test_a_full_disk_for_releases_is_a_trouble_that_passes(tmp_path: Path, monkeypatch) -> None:
    init_server(tmp_path / "keys")
    run, report = RunDir(tmp_path), LATER["report of a unit"]
    assert isinstance(report, Report)
    troubles = Troubles(run)
    with started(tmp_path) as server:
        server.session.begin()
        server.releases.heard("one", report)
        with monkeypatch.context() as broken:
            broken.setattr(server.releases, "write", full)
            serve._show(server, "one", run, troubles)
        assert troubles.present.keys() == {serve.RELEASES}
        serve._show(server, "one", run, troubles)
        assert troubles.present == {}
    assert len(lines_of_file(tmp_path)) == 1


def turns(number: int) -> SimpleNamespace:
    """A stop that comes after so many turns."""
    return SimpleNamespace(is_set=iter([*[False] * number, True]).__next__)


def full(*_: object, **__: object) -> None:
    raise StoreError("no space left on device")


def test_a_full_disk_is_told_and_tried_again_while_learning_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_server(tmp_path / "keys")
    run = RunDir(tmp_path)
    troubles = Troubles(run)
    monkeypatch.setattr(serve, "STATUS_EVERY_S", 0.0)
    with started(tmp_path) as server:
        server.session.begin()
        for number in range(3):
            server.arrivals.put(episode_rows(number, 3, first=4 * number))
        with monkeypatch.context() as broken:
            for name in ("archive_episodes", "write_status"):
                broken.setattr(serve, name, full)
            for owner, name in ((server.pruner, "prune"), (run, "save"), (run, "log")):
                broken.setattr(owner, name, full)
            broken.setattr(server.repository, "renew", full)
            broken.setattr(server.store, "robots", lambda: ["one"])
            serve._learn(server, "one", run, turns(12), troubles)
        assert server.learner.online.added == 9
        assert troubles.present.keys() == {
            serve.ARCHIVING, serve.RETENTION, serve.CHECKPOINT, serve.STATUS, serve.LOG,
            serve.RENEWAL,
        }  # fmt: skip
        assert troubles.failures[serve.ARCHIVING] == 3, "at every episode"
        shown = serve._status(server, "one", troubles)
        assert shown.disk_failures == troubles.failures.total()
        assert all(f"{work}: " in shown.disk_trouble for work in troubles.present)
        assert troubles.failures[serve.CHECKPOINT] == 1, "not at every turn"
        for work in troubles.tried_s:
            troubles.tried_s[work] -= 2 * AGAIN_S
        server.arrivals.put(episode_rows(3, 3, first=12))
        serve._learn(server, "one", run, turns(3), troubles)
        assert troubles.present == {}
        assert run.has(LEARNER)
    told = [event["text"] for event in run.metrics() if event["event"] == "trouble over"]
    assert "the archive is done again after failing" in told


def test_what_failed_is_tried_again_without_a_new_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_server(tmp_path / "keys")
    run = RunDir(tmp_path)
    troubles = Troubles(run)
    with started(tmp_path) as server:
        server.session.begin()
        troubles.failed(serve.ARCHIVING, "no space left on device")
        serve._learn(server, "one", run, turns(2), troubles)
        assert troubles.present.keys() == {serve.ARCHIVING}, "not at once"
        troubles.tried_s[serve.ARCHIVING] -= 2 * AGAIN_S
        serve._learn(server, "one", run, turns(2), troubles)
        assert troubles.present == {}


def test_one_robots_archive_is_in_no_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_server(tmp_path / "keys")
    troubles = Troubles(RunDir(tmp_path))
    with started(tmp_path) as server:
        for robot in ("a", "b"):
            deliver(server.store, episode_rows(0, 3, first=0), robot)
        (tmp_path / "archive").mkdir()
        (tmp_path / "archive" / "a").write_text("in the way")
        serve._archive(server, RunDir(tmp_path), troubles)
        assert ArchiveIndex(server.store.database).through("b") > 0
    assert "archive/a" in troubles.present[serve.ARCHIVING]


def test_a_policy_that_the_disk_refused_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_server(tmp_path / "keys")
    troubles = Troubles(RunDir(tmp_path))
    with started(tmp_path) as server:
        server.session.begin()
        with serve._publishing(server, troubles):
            full()
        assert troubles.present == {serve.PUBLICATION: "no space left on device"}
        with serve._publishing(server, troubles):
            pass
        assert troubles.present, "nothing went out"
        with serve._publishing(server, troubles):
            server.session._send(server.session._present(), 0.0, 0.0)
        assert troubles.present == {}


def test_ending_says_what_the_disk_still_refuses_after_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_server(tmp_path / "keys")
    run = RunDir(tmp_path)
    with started(tmp_path) as server:
        server.session.begin()
        deliver(server.store, episode_rows(0, 3, first=0), "one")
        with monkeypatch.context() as broken:
            broken.setattr(serve, "archive_episodes", full)
            with pytest.raises(StoreError, match="the archive: no space left"):
                serve._finish(server, "one", run, Troubles(run))
        assert run.result["failures"] == {serve.ARCHIVING: 1}
        assert run.result["account"]["committed"] == 4
        assert run.has(LEARNER)
        result = serve._finish(server, "one", run, Troubles(run))
        assert result["troubles"] == {}


def test_files_that_the_catalogue_does_not_know_are_told_at_the_start(tmp_path: Path) -> None:
    init_server(tmp_path / "keys")
    run = RunDir(tmp_path)
    with started(tmp_path) as server:
        (tmp_path / "archive" / "one").mkdir(parents=True)
        for name in ("g001-e000007.mcap", "rest-g001-000000000001.mcap"):
            (tmp_path / "archive" / "one" / name).write_bytes(b"")
        troubles = Troubles(run)
        serve._tell_uncatalogued(server, run, troubles)
    (note,) = troubles.notes
    assert note.startswith("1 files")
    assert "g001-e000007.mcap" in note
