"""``wombet-offboard serve``: take what a robot streams, learn from it, publish better policies.

Two threads: ingest answers robots, the main thread learns; they meet in one queue. What is durable
lies in the episode store and the learner's checkpoint, so a restarted server learns on.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from offboard.assembler import Assembler
from offboard.episode_store import EpisodeStore, open_episode_store
from offboard.export import Exporter
from offboard.finetune import FinetuneConfig, Learner
from offboard.ingest import DEFAULT_ENDPOINT, Ingest
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, load_server_keys
from offboard.mcap_archive import archive_episodes
from offboard.publish import Repository, open_repository
from offboard.publisher import Publisher
from offboard.replay import join
from offboard.run_dir import RunDir, open_run
from offboard.sac import SacConfig
from offboard.serve_status import as_rows, snapshot, write_status
from offboard.session import Session, SessionConfig
from offboard.stages.generate import load_kept
from offboard.stages.source import load_source
from offboard.task_setup import TaskSetup, load_task
from offboard.world_model import ModelConfig
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows

STATUS_EVERY_S = 0.5
IDLE_S = 0.1
CHECKPOINT = "learner"


@dataclass(frozen=True)
class ServeConfig:
    """Where the warm start comes from, which robot adapts, and how."""

    robot: Path
    task: str
    unit: str
    source: Path
    generated: Path
    keys: Path
    endpoint: str = DEFAULT_ENDPOINT
    seed: int = 0
    cpus: tuple[int, ...] = ()
    nice: int = 0
    sac: SacConfig = field(default_factory=lambda: SacConfig(alpha_min=0.03))
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    session: SessionConfig = field(default_factory=SessionConfig)


@dataclass
class _Server:
    """The parts of a running server, wired by :func:`_open`."""

    spec: RobotSpec
    session: Session
    learner: Learner
    store: EpisodeStore
    repository: Repository
    ingest: Ingest
    arrivals: queue.SimpleQueue[Rows]


def run_serve(config: ServeConfig, out: Path) -> dict[str, Any]:
    """Serve until SIGTERM or SIGINT, then account for every record.

    Raises:
        StoreError: ``out`` holds another run, or an earlier stage is not finished.
        ConfigError: keys or endpoint are wrong.
    """
    run = open_run(out, config)
    _yield_cpu(config)
    server = _open(config, run)
    with contextlib.closing(server.store):
        stop = _stop_on_signals()
        with _ingesting(server.ingest, stop):
            _learn(server, config.unit, run, stop)
        return _finish(server, config.unit, run)


def _open(config: ServeConfig, run: RunDir) -> _Server:
    setup, keys = load_task(config.robot, config.task), load_server_keys(config.keys)
    repository = open_repository(run.path / "repository", keys.signers, keys.root)
    store = open_episode_store(run.path / "episodes.sqlite", setup.spec)
    arrivals: queue.SimpleQueue[Rows] = queue.SimpleQueue()

    def on_rows(robot: str, rows: Rows) -> None:
        if robot == config.unit:
            arrivals.put(rows)

    ingest = Ingest(
        zmq.Context(),
        keys,
        KeyTable(config.keys / TABLE_FILE),
        store,
        setup.spec,
        repository.directory,
        on_rows,
        config.endpoint,
    )
    session, learner = _open_session(config, setup, repository, ingest, run)
    for rows in store.rows(config.unit):
        session.push(rows)
    session.begin()
    return _Server(setup.spec, session, learner, store, repository, ingest, arrivals)


def _open_session(
    config: ServeConfig, setup: TaskSetup, repository: Repository, ingest: Ingest, run: RunDir
) -> tuple[Session, Learner]:
    """The warm start: the source's actor and critic, its model, and its data as prior."""
    source = load_source(config.source)
    sac = setup.sac(config.sac)
    model = setup.world_model(ModelConfig(**source.config["model"]))
    learner = Learner(
        sac,
        model,
        sac.restart(source.sac.actor, source.sac.critic),
        source.model,
        join((source.replay, load_kept(config.generated))),
        config.finetune,
        config.seed,
    )
    learner.warm_up()

    def announce(version: int) -> None:
        ingest.policy_version = version

    exporter = Exporter(setup.spec, setup.task, sac.actor_space)
    publisher = Publisher(exporter, source.replay.obs, repository, announce, run)
    assembler = Assembler(setup.layout, setup.judge)
    session = Session(learner, model, sac.actor_space, assembler, publisher.publish, config.session)
    if run.has(CHECKPOINT):
        session.restore(run.load(CHECKPOINT))
    return session, learner


def _learn(server: _Server, unit: str, run: RunDir, stop: threading.Event) -> None:
    """The learner's loop: records first, then one piece of work, then checkpoint and status."""
    busy, shown_s, saved = True, 0.0, 0
    while not stop.is_set():
        with contextlib.suppress(queue.Empty):
            rows = server.arrivals.get(timeout=0.001 if busy else IDLE_S)
            ended = server.session.push(rows)
            for episode in ended:
                run.log(event="episode", **vars(episode), **vars(server.learner.evidence))
            if ended:
                _archive(server, run)
        busy = server.session.turn()
        if server.session.version != saved:
            saved = server.session.version
            run.save(CHECKPOINT, server.session.tensors())
        if time.monotonic() - shown_s > STATUS_EVERY_S:
            shown_s = time.monotonic()
            server.repository.renew()
            _show(server, unit, run)


def _archive(server: _Server, run: RunDir) -> None:
    """Finished episodes of every robot as MCAP files."""
    for robot in server.store.robots():
        archive_episodes(server.store, robot, server.spec, run.path / "archive")


def _show(server: _Server, unit: str, run: RunDir) -> None:
    published = server.repository.latest_version
    evidence = server.learner.evidence
    write_status(run.path, snapshot(server.session, evidence, published, server.ingest, unit))


def _finish(server: _Server, unit: str, run: RunDir) -> dict[str, Any]:
    """Last status, archive, checkpoint and the account of records."""
    _show(server, unit, run)
    _archive(server, run)
    run.save(CHECKPOINT, server.session.tensors())
    account = server.store.account(unit)
    return run.finish(
        {
            "published": server.repository.latest_version,
            "held_back": server.session.held_back,
            "unfit": server.session.unfit,
            "episodes": as_rows(server.session.episodes),
            "account": account._asdict(),
            "retransmitted": server.ingest.duplicates,
            "refusals": dict(server.ingest.refusals),
        }
    )


@contextlib.contextmanager
def _ingesting(ingest: Ingest, stop: threading.Event) -> Iterator[None]:
    """Ingest in its own thread. If it fails the server stops and the failure is raised here."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            ingest.serve(stop)
        except BaseException as error:  # handed to the main thread, never dropped
            failures.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=work, name="ingest")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _yield_cpu(config: ServeConfig) -> None:
    """Keep off the control process's core where both share a machine."""
    if config.cpus:
        os.sched_setaffinity(0, config.cpus)
    if config.nice:
        os.nice(config.nice)
