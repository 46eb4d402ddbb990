"""What a running server shows: one small JSON file, replaced a few times a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from offboard.assembler import Episode
from offboard.evidence import Evidence
from offboard.ingest import Ingest
from offboard.losses import Loss
from offboard.session import Session
from protocol.errors import StoreError
from protocol.messages import Report

STATUS_FILE = "status.json"


class RobotStatus(Struct, frozen=True, kw_only=True):
    """What is known of one robot; ``heard_s`` is the Unix time of its newest report, 0 for none.

    ``losses`` says how many of its records are lost for good, and to what; ``unwritten`` how many
    changes of its release came too fast to be written down.
    """

    name: str
    heard_s: float = 0.0
    report: Report | None = None
    stopped: str = ""
    losses: list[Loss] = []
    unwritten: int = 0


class ServeStatus(Struct, frozen=True, kw_only=True):
    """A snapshot of session, ingest and what robots last reported.

    Attributes:
        report: of the robot that adapts.
        robots: every robot that has spoken since the start, by name.
        clock_steps_back: how often a robot's clock ran backwards.
        damaged: batches in the store that are not what was written.
        pinned: the policy version robots are to stay with, 0 if none.
        pin_trouble: why the version that somebody wants pinned is not; empty if it is.
        publish_trouble: why nothing can be published until the server is restarted.
        disk_trouble: what the disk refuses at present, and is tried again; empty if nothing.
        disk_failures: how often it refused something since the start.
    """

    pid: int
    endpoint: str
    phase: str
    version: int
    published: int
    held_back: int
    unfit: list[str]
    committed: int
    refusals: dict[str, int]
    episodes: list[Episode]
    evidence: Evidence
    report: Report | None = None
    unit: str = ""
    robots: list[RobotStatus] = []
    clock_steps_back: int = 0
    damaged: int = 0
    pinned: int = 0
    pin_trouble: str = ""
    publish_trouble: str = ""
    disk_trouble: str = ""
    disk_failures: int = 0


class Presence:
    """When each robot was last heard: a report differs from the one before by its ticks."""

    def __init__(self, clock_s: Callable[[], float] = time.time) -> None:
        """``clock_s`` is Unix time."""
        self._clock_s = clock_s
        self._heard: dict[str, tuple[Report, float]] = {}

    def robots(
        self,
        reports: Iterable[tuple[str, Report]],
        stop_reason: Callable[[str], str],
        losses: Callable[[str], list[Loss]] = lambda robot: [],
        unwritten: Callable[[str], int] = lambda robot: 0,
    ) -> list[RobotStatus]:
        """Every robot by name, with the time its report was first seen here."""
        for name, report in reports:
            if name not in self._heard or self._heard[name][0] is not report:
                self._heard[name] = report, self._clock_s()
        return [
            RobotStatus(
                name=name,
                heard_s=heard_s,
                report=report,
                stopped=stop_reason(name),
                losses=losses(name),
                unwritten=unwritten(name),
            )
            for name, (report, heard_s) in sorted(self._heard.items())
        ]


class Around(NamedTuple):
    """What a status tells beside session and ingest."""

    unit: str
    published: int
    robots: list[RobotStatus]
    damaged: int
    pin_trouble: str
    publish_trouble: str
    disk_trouble: str
    disk_failures: int


def snapshot(session: Session, evidence: Evidence, ingest: Ingest, around: Around) -> ServeStatus:
    """The present state; safe to call while ingest runs."""
    return ServeStatus(
        pid=os.getpid(),
        endpoint=ingest.endpoint,
        phase=session.phase.value,
        version=session.version,
        published=around.published,
        held_back=session.held_back,
        unfit=session.unfit,
        committed=ingest.committed,
        refusals=dict(ingest.refusals),
        episodes=session.episodes,
        evidence=evidence,
        report=ingest.reports.get(around.unit),
        unit=around.unit,
        robots=around.robots,
        clock_steps_back=ingest.clock_steps_back,
        damaged=around.damaged,
        pinned=session.pinned,
        pin_trouble=around.pin_trouble,
        publish_trouble=around.publish_trouble,
        disk_trouble=around.disk_trouble,
        disk_failures=around.disk_failures,
    )


def write_status(path: Path, status: ServeStatus) -> None:
    """Replace ``path``/status.json at once. Raises StoreError if the disk refuses."""
    part = path / f".{STATUS_FILE}"
    try:
        part.write_bytes(msgspec.json.encode(status))
        part.replace(path / STATUS_FILE)
    except OSError as error:
        raise StoreError(f"{part}: cannot be written ({error})") from error


def read_status(path: Path) -> ServeStatus | None:
    """The last status written below ``path``, or None. Raises StoreError if it is damaged."""
    try:
        return msgspec.json.decode((path / STATUS_FILE).read_bytes(), type=ServeStatus)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise StoreError(f"{path / STATUS_FILE}: not a status ({error})") from error


def as_rows(episodes: list[Episode]) -> list[dict[str, object]]:
    """Episodes as JSON objects."""
    return [asdict(episode) for episode in episodes]
