"""``wombet-offboard serve``: take what a robot streams, learn from it, publish better policies.

Three threads: ingest answers robots, the main thread learns, and they meet in one queue; the third
writes what robots do, for those who look. What is durable lies in the episode store and the
learner's checkpoint, so a restarted server learns on.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from offboard.data.catalogue import ARCHIVE
from offboard.data.retention import Freed
from offboard.device import check_on_cpu
from offboard.event_files import mirrored
from offboard.ingest import Ingest
from offboard.keys import load_server_keys
from offboard.live_window import Windows
from offboard.mcap_archive import archive_episodes
from offboard.page_process import page_beside
from offboard.run_dir import RunDir, open_run
from offboard.serve_status import Around, as_rows, snapshot, write_status
from offboard.stages.generate import load_kept
from offboard.stages.serve_wiring import LEARNER, Prior, ServeConfig, Server, open_server
from offboard.stages.source import load_source
from offboard.task_setup import load_task
from protocol.errors import BundleError, ConfigError, StoreError

STATUS_EVERY_S = 0.5
PIN_AGAIN_S = 30.0
IDLE_S = 0.1
NOT_OUTCOME = frozenset(
    {"endpoint", "cpus", "nice", "device", "retention", "page_port", "tensorboard"}
)


def run_serve(config: ServeConfig, out: Path) -> dict[str, Any]:
    """Serve until SIGTERM or SIGINT, then account for every record.

    Raises:
        StoreError: ``out`` holds another run, or an earlier stage is not finished.
        ConfigError: keys or endpoint are wrong, or there is no such device.
    """
    if config.policy == "planner":
        check_on_cpu(config.device, "--policy planner")
    setup = load_task(config.robot, config.task, config.device)
    keys = load_server_keys(config.keys)
    source, kept = load_source(config.source, setup), load_kept(config.generated)
    run = open_run(out, config, setup.files_sha256, free=NOT_OUTCOME)
    _yield_cpu(config)
    _say("compiling and exporting: half a minute on a machine that never did")
    server = open_server(config, setup, keys, Prior(source, kept), run)
    with contextlib.closing(server.store):
        stop = _stop_on_signals()
        with (
            _ingesting(server.ingest, stop),
            _showing(server.windows, stop),
            page_beside(run.path, config.page_port, Console(stderr=True)),
            mirrored(run, config.tensorboard),
        ):
            _say(f"listening on {server.ingest.endpoint} for {config.unit}")
            _follow_pin(server)
            server.session.begin()
            _learn(server, config.unit, run, stop)
        return _finish(server, config.unit, run)


def _learn(server: Server, unit: str, run: RunDir, stop: threading.Event) -> None:
    """The learner's loop: records first, then one piece of work, then checkpoint and status."""
    busy, shown_s, saved = True, 0.0, (0, 0)
    while not stop.is_set():
        with contextlib.suppress(queue.Empty):
            rows = server.arrivals.get(timeout=0.001 if busy else IDLE_S)
            ended = server.session.push(rows)
            for episode in ended:
                learner = {**asdict(server.learner.evidence), **server.learner.losses}
                run.log(event="episode", **vars(episode), **learner)
                _say(
                    f"episode {len(server.session.episodes)}: return {episode.total:.0f}, policy "
                    f"{episode.main_version}, {server.session.phase.value}"
                )
            if ended:
                _archive(server, run)
        busy = True
        with _publishing(server):
            busy = server.session.turn()
        session = server.session
        if (session.version, session.settled) != saved:
            saved = session.version, session.settled
            run.save(LEARNER, session.tensors())
            if session.settled:  # and that is durable: no restart needs the records
                server.pruner.keep = frozenset()
        if time.monotonic() - shown_s > STATUS_EVERY_S:
            shown_s = time.monotonic()
            with _publishing(server):
                server.repository.renew()
            _follow_pin(server)
            _show(server, unit, run)


def _archive(server: Server, run: RunDir) -> None:
    """Finished episodes of every robot as MCAP files; then the disk is kept within bounds."""
    for robot in server.store.robots():
        archive_episodes(server.store, robot, server.spec, run.path / ARCHIVE)
    if (freed := server.pruner.prune()) != Freed():
        run.log(event="retention", **freed._asdict())


@contextlib.contextmanager
def _publishing(server: Server) -> Iterator[None]:
    """Keys that are not in force any more end publication, until a restart; nothing else."""
    try:
        yield
    except ConfigError as error:
        server.publish_trouble = str(error)


def _follow_pin(server: Server) -> None:
    """Have robots stay with the policy that somebody pinned, if this run published it.

    What failed is tried again now and then: a disk is not full for ever.
    """
    now_s = time.monotonic()
    again = server.pin_trouble and now_s - server.pin_tried_s > PIN_AGAIN_S
    if not server.pin.refresh() and not again:
        return
    server.pin_tried_s = now_s
    try:
        server.session.pin(server.pin.version)
        server.pin_trouble = ""
    except (BundleError, ConfigError, StoreError) as error:
        server.pin_trouble = str(error)


def _show(server: Server, unit: str, run: RunDir) -> None:
    reports = [*server.ingest.reports.items()]
    around = Around(
        unit=unit,
        published=server.repository.latest_version,
        robots=server.presence.robots(reports, server.ingest.stop_reason, server.store.losses),
        damaged=server.store.damaged,
        pin_trouble=server.pin_trouble,
        publish_trouble=server.publish_trouble,
    )
    status = snapshot(server.session, server.learner.evidence, server.ingest, around)
    write_status(run.path, status)


def _finish(server: Server, unit: str, run: RunDir) -> dict[str, Any]:
    """Last status, archive, checkpoint and the account of records."""
    _show(server, unit, run)
    _archive(server, run)
    run.save(LEARNER, server.session.tensors())
    account = server.store.account(unit)
    return run.finish(
        {
            "published": server.repository.latest_version,
            "held_back": server.session.held_back,
            "unfit": server.session.unfit,
            "episodes": as_rows(server.session.episodes),
            "account": account._asdict(),
            "losses": {
                robot: [asdict(loss) for loss in server.store.losses(robot)]
                for robot in server.store.robots()
            },
            "freed": server.pruner.total._asdict(),
            "retransmitted": server.ingest.duplicates,
            "refusals": dict(server.ingest.refusals),
        }
    )


@contextlib.contextmanager
def _ingesting(ingest: Ingest, stop: threading.Event) -> Iterator[None]:
    """Ingest in its own thread, listening; if it fails the failure is raised here."""
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
        while not ingest.ready.wait(IDLE_S) and thread.is_alive():
            pass
        if thread.is_alive():
            yield
    finally:
        stop.set()
        thread.join()
        if failures:
            raise failures[0]


@contextlib.contextmanager
def _showing(windows: Windows, stop: threading.Event) -> Iterator[None]:
    """What robots do, for those who look, in its own thread: a piece of learning takes seconds."""

    def work() -> None:
        while not stop.wait(STATUS_EVERY_S):
            windows.refresh()

    thread = threading.Thread(target=work, name="windows")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


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


def _say(line: str) -> None:
    Console(stderr=True).print(line, highlight=False)
