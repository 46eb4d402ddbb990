"""The parts of a running server and how they are wired: the composition root of ``serve``."""

from __future__ import annotations

import math
import queue
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import zmq

from offboard.architecture import ActorArchitecture, Architecture
from offboard.assembler import Assembler
from offboard.data.catalogue import ARCHIVE
from offboard.data.history import history
from offboard.data.retention import Pruner, Retention
from offboard.device import moved
from offboard.episode_store import EpisodeStore, open_episode_store
from offboard.export import Exporter
from offboard.finetune import FinetuneConfig, Learner
from offboard.ingest import DEFAULT_ENDPOINT, Ingest
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, ServerKeys
from offboard.live_window import Windows
from offboard.model_state import ModelConfig
from offboard.page.main import DEFAULT_PORT
from offboard.planner_policy import PlannerArchitecture, SearchConfig
from offboard.policy_pin import PolicyPin
from offboard.publish import Repository, open_repository
from offboard.publisher import Publisher
from offboard.release_record import ReleaseRecord
from offboard.replay import Batch, join
from offboard.run_dir import RunDir
from offboard.sac import Sac, SacConfig
from offboard.serve_status import Presence
from offboard.session import Session
from offboard.session_plan import SessionConfig
from offboard.stages.source import Source
from offboard.stop_list import STOPS_FILE, StopList
from offboard.task_setup import TaskSetup
from offboard.world_model import WorldModel
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows

LEARNER = "learner"
"""Name of the learner's checkpoint."""


@dataclass(frozen=True)
class ServeConfig:
    """Where the warm start comes from, which robot adapts, and how.

    ``sac`` takes smaller steps than the source did: a warm start bears no more (ADR 12).
    ``retention`` bounds what robots leave; of ``unit`` all stays that a restart needs.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        task: of the robot file.
        unit: the robot that adapts, as `keys add` named it.
        source: --out of the source stage.
        generated: --out of the generate stage.
        keys: directory that `keys init` made.
        endpoint: where robots connect, tcp://ADDRESS:PORT.
        seed: of everything random; the same seed gives the same result.
        cpus: cores to learn on; by default all.
        nice: how far to stand back for other processes, 0 to 19.
        device: to learn on, as PyTorch calls it: cpu, or cuda.
        policy: what the robot gets: the actor, or a search with actor, critics and world model.
        repository: what robots update from, one for the keys' whole life; OUT/repository if not
            given. The one that `fleet deploy` publishes in, so that units find releases there.
        page_port: port on loopback of the live page; 0 for no page.
        tensorboard: write TensorBoard event files too.
    """

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
    device: str = "cpu"
    policy: Literal["actor", "planner"] = "actor"
    search: SearchConfig = field(default_factory=SearchConfig)
    sac: SacConfig = field(default_factory=lambda: SacConfig(lr=3e-4, alpha_min=0.03))
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    session: SessionConfig = field(default_factory=SessionConfig)
    retention: Retention = field(default_factory=Retention)
    repository: Path | None = None
    page_port: int = DEFAULT_PORT
    tensorboard: bool = False


class Prior(NamedTuple):
    """What the source task left: its run, and the generated transitions that were kept."""

    source: Source
    kept: Batch


@dataclass
class Server:
    """The parts of a running server; made by :func:`open_server`."""

    spec: RobotSpec
    session: Session
    learner: Learner
    store: EpisodeStore
    pruner: Pruner
    repository: Repository
    ingest: Ingest
    arrivals: queue.SimpleQueue[Rows]
    windows: Windows
    pin: PolicyPin
    releases: ReleaseRecord
    presence: Presence = field(default_factory=Presence)
    pin_trouble: str = ""
    pin_tried_s: float = 0.0
    publish_trouble: str = ""


def open_server(
    config: ServeConfig, setup: TaskSetup, keys: ServerKeys, prior: Prior, run: RunDir
) -> Server:
    """Everything but the listening: a restarted server knows what it knew.

    Raises:
        StoreError: repository, store or checkpoint cannot be read.
    """
    repository = open_repository(config.repository or run.path / "repository", keys.trust)
    store = open_episode_store(run.path / "episodes.sqlite", setup.spec)
    arrivals: queue.SimpleQueue[Rows] = queue.SimpleQueue()

    windows, releases = Windows(run.path, setup.spec), ReleaseRecord(run.path)

    def on_rows(robot: str, rows: Rows) -> None:
        windows.saw(robot, rows)
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
        StopList(config.keys / STOPS_FILE),
        releases.heard,
    )
    ingest.policy_version = repository.latest_version
    session, learner = _open_session(config, setup, prior, repository, ingest, run)
    for rows in history(store, run.path / ARCHIVE, config.unit):
        session.push(rows)
    keep = frozenset() if session.settled else frozenset({config.unit})
    pruner = Pruner(store, setup.spec, run.path / ARCHIVE, config.retention, keep, time.time)
    return Server(
        setup.spec,
        session,
        learner,
        store,
        pruner,
        repository,
        ingest,
        arrivals,
        windows,
        PolicyPin(run.path),
        releases,
    )


def _open_session(
    config: ServeConfig,
    setup: TaskSetup,
    prior: Prior,
    repository: Repository,
    ingest: Ingest,
    run: RunDir,
) -> tuple[Session, Learner]:
    """The warm start: the source's actor and critic, its model, and its data as prior."""
    source = prior.source
    sac = setup.sac(config.sac)
    model = setup.world_model(ModelConfig(**source.config["model"]))
    learner = Learner(
        sac,
        model,
        sac.restart(source.sac.actor, source.sac.critic),
        source.model,
        join((source.replay, moved(prior.kept, setup.device))),
        config.finetune,
        config.seed,
        _random_reward(source),
        setup.sac(SacConfig(**source.config["sac"])),
    )
    learner.warm_up()

    def announce(version: int) -> None:
        ingest.policy_version = version

    architecture = _architecture(config, setup, sac, model)
    exporter = Exporter(setup.spec, setup.task, architecture)
    publisher = Publisher(exporter, source.replay.obs.cpu(), repository, announce, run)
    assembler = Assembler(setup.layout, setup.judge, setup.spec.policy)
    session = Session(
        learner,
        model,
        architecture,
        assembler,
        publisher.publish,
        config.session,
        setup.episode_answers,
    )
    if run.has(LEARNER):
        session.restore(run.load(LEARNER))
    return session, learner


def _random_reward(source: Source) -> float:
    """Mean reward per step of the random actions that the source began with.

    Without any, as in a source learned from logs, nothing is worse than random.
    """
    steps = source.config.get("online", {}).get("random_steps", 0)
    return float(source.replay.reward[:steps].mean()) if steps else -math.inf


def _architecture(
    config: ServeConfig, setup: TaskSetup, sac: Sac, model: WorldModel
) -> Architecture:
    """What kind of policy is published."""
    if config.policy == "planner":
        return PlannerArchitecture(model, sac, setup.discount, config.search)
    return ActorArchitecture(sac.actor_space)
