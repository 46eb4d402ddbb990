"""What a running server shows: one small JSON file, replaced a few times a second."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import msgspec
from msgspec import Struct

from offboard.assembler import Episode
from offboard.finetune import Evidence
from offboard.ingest import Ingest
from offboard.session import Session
from protocol.errors import StoreError
from protocol.messages import Report

STATUS_FILE = "status.json"


class ServeStatus(Struct, frozen=True, kw_only=True):
    """A snapshot of session, ingest and the robot's last report."""

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


def snapshot(
    session: Session, evidence: Evidence, published: int, ingest: Ingest, unit: str
) -> ServeStatus:
    """The present state; safe to call while ingest runs."""
    return ServeStatus(
        pid=os.getpid(),
        endpoint=ingest.endpoint,
        phase=session.phase.value,
        version=session.version,
        published=published,
        held_back=session.held_back,
        unfit=session.unfit,
        committed=ingest.committed,
        refusals=dict(ingest.refusals),
        episodes=session.episodes,
        evidence=evidence,
        report=ingest.reports.get(unit),
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
