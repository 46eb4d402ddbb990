"""What ``wombet-onboard release`` does: composition of installer, systemd and control's socket."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

from onboard.bundle_fetcher import DirectoryFetcher
from onboard.exit_status import Exit
from onboard.releases.depot import Depot
from onboard.releases.installer import Installer
from onboard.releases.journal import recalled_journal
from onboard.releases.pulse import pulse_at
from onboard.releases.report import EXIT_STATUS, Report
from onboard.releases.services import Systemd
from onboard.releases.status import release_status
from onboard.releases.trial import Trial
from onboard.releases.unit_file import unit_name
from onboard.releases.unit_paths import CONTROL, UnitPaths
from onboard.update_client import UpdateClient
from onboard.version_floor import FLOOR_FILE
from onboard.wall_clock import Trust, wall_clock
from protocol.errors import WombetError


def act(
    verb: str,
    directory: Path | None,
    root: Path,
    health_s: float,
    wait_s: float,
    json: bool,
    clock: Trust,
) -> int:
    """Carry ``verb`` out; see :func:`onboard.release_command.release`. Returns the exit status."""
    paths = UnitPaths(root)
    if verb == "status":
        return _status(paths, json)
    if verb == "list":
        return _list(paths)
    if verb == "prune":
        print("\n".join(_installer(paths).prune()))
        return Exit.DONE
    _outlive_the_caller()
    try:
        installer = _installer(paths)
        if directory is not None:
            report = _install(installer, paths, directory, health_s, wait_s, clock)
        else:
            report = installer.judge() if verb == "judge" else installer.roll_back(wait_s)
    except WombetError as error:
        report = Report("", "", "", "refused", str(error))
    _say(report.json())
    asked = verb == "rollback" and report.verdict == "rolled_back"
    return Exit.DONE if asked else EXIT_STATUS[report.verdict]


def _install(
    installer: Installer,
    paths: UnitPaths,
    directory: Path,
    health_s: float,
    wait_s: float,
    clock: Trust,
) -> Report:
    fetcher = DirectoryFetcher(directory)
    client = UpdateClient(paths.trust, paths.books / "tuf", fetcher, wall_clock(clock))
    depot = Depot(client, fetcher.rest, paths.books / FLOOR_FILE)
    return installer.install(depot, health_s, wait_s)


def _installer(paths: UnitPaths) -> Installer:
    services, pulse = Systemd(), partial(pulse_at, paths.socket)
    trial = Trial(paths, services, pulse, time.monotonic, time.time, time.sleep)
    unit = unit_name(paths.unit)
    return Installer(unit, paths, services, trial, pulse, time.monotonic, time.sleep)


def _status(paths: UnitPaths, json: bool) -> int:
    journal, trouble = recalled_journal(paths)
    found = release_status(
        unit_name(paths.unit),
        journal,
        trouble,
        Systemd().state(CONTROL),
        pulse_at(paths.socket),
    )
    _say(found.json() if json else found.text())
    return Exit.DONE


def _list(paths: UnitPaths) -> int:
    journal, _ = recalled_journal(paths)
    for path in sorted(paths.releases.iterdir()):
        roles = ("current", "previous", "golden", "pending")
        marks = [role for role in roles if getattr(journal, role) == path.name]
        _say(f"{path.name} {' '.join(marks)}".rstrip())
    return Exit.DONE


def _outlive_the_caller() -> None:
    """A connection that breaks ends no install: the robot would be left without a judge."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # nobody listens any more; what is to be done is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
