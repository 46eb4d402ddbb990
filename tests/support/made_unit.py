"""A field unit in a directory: releases, a repository that assigns them, systemd, a robot to run.

What a release does when it runs stands in a table by its name; time passes when somebody sleeps.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import zstandard

from offboard.ceremony import list_files
from offboard.keys import enrol_robot, init_server, load_server_keys
from offboard.publish import open_repository
from offboard.roles import utc_now
from onboard.bundle_fetcher import DirectoryFetcher
from onboard.releases.archive import identity
from onboard.releases.assignment import this_target
from onboard.releases.depot import Depot
from onboard.releases.evidence import Pulse
from onboard.releases.guardian import Guardian
from onboard.releases.install_steps import Step
from onboard.releases.installer import Installer
from onboard.releases.journal import Journal, read_journal
from onboard.releases.report import Report
from onboard.releases.services import ServiceState
from onboard.releases.trial import Trial
from onboard.releases.unit_paths import CONTROL, UnitPaths
from onboard.update_client import UpdateClient
from onboard.wall_clock import WallClock
from protocol.errors import StoreError

UNIT = "duck"
HZ = 50
TARGET = this_target()
HEALTH_S = 5.0


class PowerCut(BaseException):
    """Nothing runs any more; what is on the disk stays."""


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """A tar of plain files, compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in sorted(files.items()):
            head = tarfile.TarInfo(path)
            head.size, head.mode = len(data), 0o755 if path.startswith("bin/") else 0o644
            tar.addfile(head, io.BytesIO(data))
    return zstandard.compress(buffer.getvalue())


def release_files(word: str) -> dict[str, bytes]:
    program = f"#!/bin/sh\necho {word}\n".encode()
    return {"bin/wombet-onboard": program, "lib/onboard/main.py": word.encode() * 50}


@cache
def release_id(word: str) -> str:
    with TemporaryDirectory() as folder:
        return lay(Path(folder), word)


def lay(folder: Path, word: str) -> str:
    """Put a release below ``folder`` under its name, which is returned."""
    part = folder / "being-made"
    for path, data in release_files(word).items():
        (part / path).parent.mkdir(parents=True, exist_ok=True)
        (part / path).write_bytes(data)
    name = identity(part)
    part.rename(folder / name)
    return name


@dataclass
class FakeServices:
    """Systemd and the robot: what runs is where ``current`` led when it was started.

    Attributes:
        deeds: what releases do, by name: well, crash, hang, mute, slow, no_bus, agent_dies.
        flat: the battery is: nobody reaches the bus.
        mode: of a release that does well.
    """

    paths: UnitPaths
    deeds: dict[str, str] = field(default_factory=dict)
    flat: bool = False
    mode: str = "IDLE"
    now_s: float = 1000.0
    running: str = ""
    started_s: float = 0.0
    calls: list[str] = field(default_factory=list)
    stops: bool = True

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def clock_s(self) -> float:
        return self.now_s

    @property
    def deed(self) -> str:
        return self.deeds.get(self.running, "well")

    def stop(self) -> None:
        self.calls.append("stop")
        if not self.stops:
            raise StoreError("control did not stop")
        self.running = ""

    def start(self) -> None:
        self.calls.append("start")
        self.running = (self.paths.program / "current").readlink().name
        self.started_s = self.now_s

    def state(self, service: str) -> ServiceState:
        age_s = self.now_s - self.started_s
        if not self.running:
            return ServiceState()
        if service != CONTROL:
            dead = self.deed == "agent_dies" and age_s > 2.0
            return ServiceState("failed", "exit-code", 5, 70) if dead else ServiceState("active")
        if self.deed == "crash" and age_s > 0.5:
            return ServiceState("activating", "exit-code", 0, 70)
        if self.deed == "hang" and age_s > 3.0:
            return ServiceState("active", "success", 1, 0)
        return ServiceState("activating" if age_s < 1.0 or self.deed == "mute" else "active")

    def bus_answers(self, release: str) -> bool:
        assert not self.running, "one program at a time"
        self.calls.append(f"bus {release}")
        self.now_s += 2.0
        return not self.flat and self.deeds.get(release, "well") != "no_bus"

    def go_on_judging(self) -> None:
        self.calls.append("judge")

    def pulse(self) -> Pulse | None:
        age_s = self.now_s - self.started_s
        if not self.running or age_s < 1.0 or self.deed in ("crash", "mute"):
            return None
        rate_hz = HZ / 2 if self.deed == "slow" else HZ
        ticks, at_ns = int(age_s * rate_hz), int(self.now_s * 1e9)
        if self.flat or self.deed == "no_bus":
            return Pulse("FAULT", "nobody answers", ticks, at_ns, HZ, False)
        return Pulse(self.mode, "", ticks, at_ns, HZ, self.mode not in ("BOOT", "SELFTEST"))


class Site:
    """A server's repository and keys."""

    def __init__(self, place: Path) -> None:
        self.keys, self.repository = place / "keys", place / "repository"
        self.place = place
        init_server(self.keys)
        open_repository(self.repository, load_server_keys(self.keys).trust)

    def publish(self, files: Mapping[str, bytes]) -> None:
        served = list_files(self.keys, [self.keys / "offline"], files, utc_now())
        for path, data in served.items():
            place = self.repository / "targets" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        open_repository(self.repository, load_server_keys(self.keys).trust)

    def root(self) -> bytes:
        enrol_robot(self.keys, UNIT, self.place / "enrolled")
        return (self.place / "enrolled" / "tuf" / "root.json").read_bytes()


class FieldUnit:
    """A unit that was flashed with release ``golden``, and the site it belongs to."""

    def __init__(self, place: Path) -> None:
        self.site = Site(place)
        self.paths = paths = UnitPaths(place / "unit")
        for folder in (paths.releases, paths.books, paths.state, paths.trust.parent):
            folder.mkdir(parents=True)
        paths.trust.write_bytes(self.site.root())
        paths.unit.write_text(json.dumps({"unit": UNIT, "channel": "canary"}))
        self.golden = lay(paths.releases, "golden")
        for link in ("current", "golden"):
            (paths.program / link).symlink_to(f"releases/{self.golden}")
        self.services = FakeServices(paths)
        self.services.start()
        self.counter = 0
        self.cut_at: Step | None = None
        self.steps: list[Step] = []

    def assign(self, word: str, counter: int = 0, **line: object) -> str:
        """Publish release ``word`` for this unit; returns its name."""
        files = release_files(word)
        name = release_id(word)
        self.counter = counter or self.counter + 1
        self.publish(name, archive_of(files), **line)
        return name

    def publish(self, name: str, archive: bytes, **line: object) -> None:
        mine = {"release": name, "target": TARGET, **line}
        assignments = {"schema": 1, "counter": self.counter, "units": {UNIT: mine}}
        self.site.publish(
            {
                f"release/{TARGET}/{name}.tar.zst": archive,
                "fleet/assignments.json": json.dumps(assignments).encode(),
            }
        )

    def installer(self) -> Installer:
        robot = self.services
        parts = (robot.clock_s, lambda: 1.9e9, robot.sleep, self._at)
        trial = Trial(self.paths, robot, robot.pulse, *parts)
        return Installer(
            UNIT,
            self.paths,
            robot,
            trial,
            robot.pulse,
            robot.clock_s,
            robot.sleep,
            self._at,
            flush=lambda: None,
        )

    def depot(self, directory: Path | None = None) -> Depot:
        fetcher = DirectoryFetcher(directory or self.site.repository)
        clock = WallClock(lambda: True)
        client = UpdateClient(self.paths.trust, self.paths.books / "tuf", fetcher, clock)
        return Depot(client, fetcher.rest, self.paths.books / "version_floor")

    def install(self, wait_s: float = 3.0, health_s: float = HEALTH_S) -> Report:
        return self.installer().install(self.depot(), health_s, wait_s)

    def boot(self) -> Journal:
        """Power comes back: guardian, then control, then the judge if there is one to be."""
        asked: list[str] = []

        def systemctl(arguments: object) -> str:
            asked.append(" ".join(arguments))
            return ""

        self.services.running = ""
        journal = Guardian(self.paths, systemctl, lambda: 1.9e9).boot()
        self.services.start()
        self.cut_at = None
        if any("judge" in call for call in asked):
            self.installer().judge()
        return journal

    def journal(self) -> Journal:
        return read_journal(self.paths)

    def assert_sound(self) -> str:
        """A known release runs, nothing is half done; returns its name."""
        journal = self.journal()
        assert self.services.running == journal.current
        assert (self.paths.program / "current").readlink().name == journal.current
        names = [path.name for path in self.paths.releases.iterdir()]
        assert not [name for name in names if "part" in name]
        for name in names:
            assert identity(self.paths.release(name)) == name
        assert journal.needed <= set(names)
        return journal.current

    def _at(self, step: Step) -> None:
        self.steps.append(step)
        if step is self.cut_at:
            raise PowerCut
