"""The agent: a best-effort process beside control. Ring → spool → server, and bundles back.

It may be killed at any instant, and control or server may be away for days: nothing that reached
the spool is lost, and everything goes on where it stopped. It never touches the motor bus.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import zmq

from onboard.bundle_fetcher import ServerFetcher
from onboard.bundle_store import BundleStore
from onboard.collector import Collector
from onboard.control_api import AGENT_PID_FILE, RING_FILE, SOCKET_FILE, Status
from onboard.control_socket import ControlClient
from onboard.courier import Courier
from onboard.database import DamagedError
from onboard.dealer import connect
from onboard.durable import write_number
from onboard.event_log import EventLog
from onboard.identity import load_identity
from onboard.liaison import Liaison
from onboard.log_file import LOG_FILE, LogFile
from onboard.metrics import ControlCollector, MetricsServer
from onboard.notify import notifier_for
from onboard.releases.last_word import LastWord, Word, unspoken
from onboard.releases.puller import Puller, delivery_over
from onboard.releases.unit_file import unit_name
from onboard.releases.unit_paths import UnitPaths
from onboard.ring import RingReader
from onboard.silence import Silence
from onboard.spool import Spool, open_spool
from onboard.uplink import Uplink
from onboard.version_floor import FLOOR_FILE
from onboard.wall_clock import WallClock
from onboard.window import Window
from protocol.errors import StoreError
from protocol.robot_spec import RobotSpec
from protocol.step_record import dtype_of

SPOOL_FILE = "spool.sqlite"
_STEP_MS = 50
_DRAIN_MIN_S, _DRAIN_MAX_S = 0.5, 2.0
_CONTROL_ANSWER_S = 0.5
_REOPEN_S = 1.0


class Agent:
    """The parts of the agent, turned by one thread.

    A part that fails for lack of storage is tried again at the next turn; the others carry on.
    """

    def __init__(
        self,
        collector: Collector,
        uplink: Uplink,
        liaison: Liaison,
        spool: Spool,
        log: EventLog,
        silence: Silence,
        puller: Puller | None = None,
    ) -> None:
        self._collector = collector
        self._liaison = liaison
        self._uplink = uplink
        self._spool = spool
        self._log = log
        self._silence = silence
        self._parts = {
            "collector": collector.step,
            "uplink": uplink.step,
            "liaison": liaison.step,
        }
        if puller is not None:
            self._parts["releases"] = puller.step

    def step(self, now_s: float) -> None:
        """One turn of every part. Raises DamagedError if the spool has to be replaced."""
        for name, step in self._parts.items():
            self._attempt(name, step, now_s)
        self._log.state("streaming", self._uplink.streaming)
        if complaint := self._silence.complaint(now_s, self._uplink.streaming):
            self._log.note("not_streaming", reason=complaint)
        self._log.state("refused", self._uplink.refusal)
        self._log.state("spool_full", self._spool.refusing)
        self._log.state("quarantined_entries", self._spool.quarantined)

    def run(
        self,
        stop: threading.Event,
        clock_s: Callable[[], float],
        kick: Callable[[int], None] = lambda now_ns: None,
    ) -> None:
        """Turn until ``stop``; then note, spool and send what control still does while it ends.

        ``kick`` follows each turn, with the time in ns.
        """
        while not stop.is_set():
            self.step(clock_s())
            kick(round(clock_s() * 1e9))
            self._uplink.wait(_STEP_MS)
        self._liaison.take_leave()
        stopped_s = now_s = clock_s()
        while now_s < stopped_s + (_DRAIN_MAX_S if self._uplink.busy else _DRAIN_MIN_S):
            self._attempt("collector", self._collector.flush, now_s)
            self._attempt("uplink", self._uplink.step, now_s)
            self._uplink.wait(_STEP_MS)
            now_s = clock_s()

    def _attempt(self, name: str, step: Callable[[float], None], now_s: float) -> None:
        try:
            step(now_s)
        except DamagedError:
            raise
        except StoreError as error:
            self._log.state(name, str(error))
        else:
            self._log.state(name, "ok")


def run_agent(
    spec: RobotSpec,
    task: str,
    server: str,
    state: Path,
    runtime: Path,
    clock: WallClock,
    metrics_port: int = 0,
    unit_root: Path | None = None,
) -> int:
    """Run until SIGTERM or SIGINT.

    Args:
        spec: this robot.
        task: the task it runs.
        server: ``tcp://HOST:PORT`` of the server.
        state: durable directory with ``keys/`` and ``tuf/root.json`` from enrolment.
        runtime: tmpfs directory in which control's ring and socket lie.
        clock: by which signatures expire.
        metrics_port: where Prometheus may scrape, on loopback; 0 for nowhere.
        unit_root: root directory of a field unit, which takes releases; None on a bench.

    Returns:
        0, the process's exit status.

    Raises:
        ConfigError: identity or server address are wrong, or the port is taken.
        StoreError: another agent holds the spool, or the disk cannot be used.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    write_number(runtime / AGENT_PID_FILE, os.getpid())
    with (
        closing(LogFile(state / LOG_FILE).open()) as file,
        closing(notifier_for(os.environ, os.getpid()).open()) as notifier,
    ):
        log = EventLog(sys.stderr, time.time, file)
        while not stop.is_set():
            try:
                with _assembled(
                    spec, task, server, state, runtime, clock, metrics_port, unit_root, log
                ) as agent:
                    agent.run(stop, time.monotonic, notifier.kick)
            except DamagedError as error:  # opening the spool again sets the file aside
                log.note("spool_damaged", reason=str(error))
                stop.wait(_REOPEN_S)
    return 0


@contextmanager
def _assembled(
    spec: RobotSpec,
    task: str,
    server: str,
    state: Path,
    runtime: Path,
    clock: WallClock,
    metrics_port: int,
    unit_root: Path | None,
    log: EventLog,
) -> Iterator[Agent]:
    """The agent with everything it owns, given back in reverse order."""
    identity = load_identity(state / "keys")
    with ExitStack() as owned:
        context = owned.enter_context(zmq.Context())
        dial = partial(connect, context, server, identity)
        spool = owned.enter_context(closing(open_spool(state / SPOOL_FILE)))
        ring = owned.enter_context(closing(RingReader(runtime / RING_FILE, dtype_of(spec))))
        control = owned.enter_context(
            closing(ControlClient(runtime / SOCKET_FILE, _CONTROL_ANSWER_S))
        )
        if metrics_port:
            collector = ControlCollector(partial(_asked, runtime / SOCKET_FILE), spool)
            owned.enter_context(closing(MetricsServer(collector, metrics_port).open()))
        socket = owned.enter_context(closing(dial()))
        uplink = Uplink(socket, spool, Window(random.random), spec.digest(), task)
        fetcher = ServerFetcher(dial)
        store = BundleStore(state, spec, task, fetcher, clock)
        courier = owned.enter_context(closing(Courier(store, fetcher)))
        floor_file, word = state / FLOOR_FILE, _word(unit_root, log)
        liaison = Liaison(control, store, courier, uplink, spool, log, floor_file, word)
        liaison.recall()
        silence, puller = Silence(server), None
        if unit_root is not None:
            puller = owned.enter_context(
                closing(_puller(unit_root, state, ServerFetcher(dial), clock, log))
            )
        yield Agent(Collector(ring, spool), uplink, liaison, spool, log, silence, puller)


def _word(unit_root: Path | None, log: EventLog) -> Word:
    return unspoken if unit_root is None else LastWord(UnitPaths(unit_root).journal, log)


def _puller(
    unit_root: Path, state: Path, fetcher: ServerFetcher, clock: WallClock, log: EventLog
) -> Puller:
    paths = UnitPaths(unit_root)
    delivery = delivery_over(fetcher, unit_name(paths.unit), paths, state, clock)
    return Puller(delivery, fetcher, log, random.random)


def _asked(path: Path) -> Status:
    """Control's status, over a connection of its own: a scrape comes in any thread."""
    with closing(ControlClient(path, _CONTROL_ANSWER_S)) as client:
        return client.status()
