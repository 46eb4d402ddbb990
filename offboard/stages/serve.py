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

from offboard.assembler import Episode
from offboard.data.catalogue import ARCHIVE
from offboard.data.retention import Freed
from offboard.device import check_on_cpu
from offboard.event_files import mirrored
from offboard.ingest import Ingest
from offboard.keys import load_server_keys
from offboard.live_window import Windows
from offboard.mcap_archive import archive_episodes, uncatalogued
from offboard.page_process import page_beside
from offboard.run_dir import RunDir, open_run
from offboard.serve_status import Around, ServeStatus, as_rows, snapshot, write_status
from offboard.stages.generate import load_kept
from offboard.stages.serve_wiring import LEARNER, Prior, ServeConfig, Server, open_server
from offboard.stages.source import load_source
from offboard.stages.troubles import Troubles, say
from offboard.task_setup import load_task
from protocol.errors import BundleError, ConfigError, StoreError

STATUS_EVERY_S = 0.5
PIN_AGAIN_S = 30.0
IDLE_S = 0.1
ARCHIVING, RETENTION, CHECKPOINT = "the archive", "retention", "the checkpoint"
STATUS, LOG, RENEWAL, PUBLICATION = "the status", "the log", "renewal", "publication"
RELEASES = "the record of releases"
NOT_OUTCOME = frozenset(
    {"endpoint", "cpus", "nice", "device", "retention", "page_port", "tensorboard"}
)


def run_serve(config: ServeConfig, out: Path) -> dict[str, Any]:
    """Serve until SIGTERM or SIGINT, then account for every record.

    Raises:
        StoreError: ``out`` holds another run, or an earlier stage is not finished; or the disk
            still refuses at the end what it refused before.
        ConfigError: keys or endpoint are wrong, or there is no such device.
    """
    if config.policy == "planner":
        check_on_cpu(config.device, "--policy planner")
    setup = load_task(config.robot, config.task, config.device)
    keys = load_server_keys(config.keys)
    source, kept = load_source(config.source, setup), load_kept(config.generated)
    run = open_run(out, config, setup.files_sha256, free=NOT_OUTCOME)
    _yield_cpu(config)
    say("compiling and exporting: half a minute on a machine that never did")
    server = open_server(config, setup, keys, Prior(source, kept), run)
    with contextlib.closing(server.store):
        stop, troubles = _stop_on_signals(), Troubles(run)
        _tell_uncatalogued(server, run, troubles)
        with troubles.kept(RELEASES):
            server.releases.recall()
        with (
            _ingesting(server.ingest, stop),
            _showing(server.windows, stop),
            page_beside(run.path, config.page_port, Console(stderr=True)),
            mirrored(run, config.tensorboard),
        ):
            say(f"listening on {server.ingest.endpoint} for {config.unit}")
            _follow_pin(server)
            server.session.begin()
            _learn(server, config.unit, run, stop, troubles)
        return _finish(server, config.unit, run, troubles)


def _learn(
    server: Server, unit: str, run: RunDir, stop: threading.Event, troubles: Troubles
) -> None:
    """The learner's loop: records first, then one piece of work, then checkpoint and status."""
    busy, shown_s, saved = True, 0.0, (0, 0)
    while not stop.is_set():
        with contextlib.suppress(queue.Empty):
            rows = server.arrivals.get(timeout=0.001 if busy else IDLE_S)
            ended = server.session.push(rows)
            for episode in ended:
                _tell_episode(server, episode, run, troubles)
            if ended:
                _archive(server, run, troubles)
        busy = True
        with _publishing(server, troubles):
            busy = server.session.turn()
        saved = _save(server, run, saved, troubles)
        if time.monotonic() - shown_s > STATUS_EVERY_S:
            shown_s = time.monotonic()
            with _publishing(server, troubles), troubles.kept(RENEWAL):
                server.repository.renew()
            _follow_pin(server)
            if troubles.due(ARCHIVING) or troubles.due(RETENTION):
                _archive(server, run, troubles)
            _show(server, unit, run, troubles)


def _archive(server: Server, run: RunDir, troubles: Troubles) -> None:
    """Finished episodes of every robot as MCAP files; then the disk is kept within bounds.

    One robot's failing archive is in no other's way.
    """
    with troubles.kept(ARCHIVING):
        faults = []
        for robot in server.store.robots():
            try:
                archive_episodes(
                    server.store, robot, server.spec, run.path / ARCHIVE, troubles.note
                )
            except StoreError as error:
                faults.append(str(error))
        if faults:
            raise StoreError("; ".join(faults))
    with troubles.kept(RETENTION):
        if (freed := server.pruner.prune()) != Freed():
            run.log(event="retention", **freed._asdict())


def _tell_uncatalogued(server: Server, run: RunDir, troubles: Troubles) -> None:
    """Files of episodes that the catalogue does not know: it was restored from an older copy."""
    with troubles.kept(ARCHIVING):
        if files := uncatalogued(server.store, run.path / ARCHIVE):
            troubles.note(
                f"{len(files)} files of the archive are not in the catalogue, {files[0]} the "
                "first: the store is an older copy; see Backups in data.md"
            )


def _tell_episode(server: Server, episode: Episode, run: RunDir, troubles: Troubles) -> None:
    learner = {**asdict(server.learner.evidence), **server.learner.losses}
    with troubles.kept(LOG):
        run.log(event="episode", **vars(episode), **learner)
    say(
        f"episode {len(server.session.episodes)}: return {episode.total:.0f}, policy "
        f"{episode.main_version}, {server.session.phase.value}"
    )


def _save(
    server: Server, run: RunDir, saved: tuple[int, int], troubles: Troubles
) -> tuple[int, int]:
    """A checkpoint for every new version; returns what the newest checkpoint is of."""
    session = server.session
    present = session.version, session.settled
    if present == saved or troubles.waits(CHECKPOINT):
        return saved
    with troubles.kept(CHECKPOINT):
        run.save(LEARNER, session.tensors())
        saved = present
        if session.settled:  # and that is durable: no restart needs the records
            server.pruner.keep = frozenset()
    return saved


@contextlib.contextmanager
def _publishing(server: Server, troubles: Troubles) -> Iterator[None]:
    """Keys that are not in force any more end publication, until a restart; nothing else.

    What a full disk kept from going out, robots get with the next candidate, the best one, at the
    end of adaptation, when the server is started again.
    """
    before = server.session.version
    try:
        yield
        if server.session.version != before:
            troubles.solved(PUBLICATION)
    except ConfigError as error:
        server.publish_trouble = str(error)
    except StoreError as error:
        troubles.failed(PUBLICATION, str(error))


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


def _show(server: Server, unit: str, run: RunDir, troubles: Troubles) -> None:
    with troubles.kept(STATUS):
        write_status(run.path, _status(server, unit, troubles))
    with troubles.kept(RELEASES):
        server.releases.write()


def _status(server: Server, unit: str, troubles: Troubles) -> ServeStatus:
    reports = [*server.ingest.reports.items()]
    around = Around(
        unit=unit,
        published=server.repository.latest_version,
        robots=server.presence.robots(
            reports, server.ingest.stop_reason, server.store.losses, server.releases.unwritten
        ),
        damaged=server.store.damaged,
        pin_trouble=server.pin_trouble,
        publish_trouble=server.publish_trouble,
        disk_trouble="; ".join(f"{work}: {why}" for work, why in troubles.present.items()),
        disk_failures=troubles.failures.total(),
    )
    return snapshot(server.session, server.learner.evidence, server.ingest, around)


def _finish(server: Server, unit: str, run: RunDir, troubles: Troubles) -> dict[str, Any]:
    """Last status, archive, checkpoint and the account of records.

    Raises:
        StoreError: some of that is not done; what is was done before.
    """
    _archive(server, run, troubles)
    _show(server, unit, run, troubles)
    with troubles.kept(CHECKPOINT):
        run.save(LEARNER, server.session.tensors())
    result = _account(server, unit, run, troubles)
    if troubles.present:
        undone = "; ".join(f"{work}: {reason}" for work, reason in troubles.present.items())
        raise StoreError(f"ended, but not all was done: {undone}")
    return result


def _account(server: Server, unit: str, run: RunDir, troubles: Troubles) -> dict[str, Any]:
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
            "failures": dict(troubles.failures),
            "troubles": troubles.present,
            "archive_notes": troubles.notes,
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
