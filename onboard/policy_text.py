"""The policies of a robot for people: what is held, and what became of each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from onboard.control_api import Status
from onboard.ledger import Record
from protocol.bundle import Manifest

TALK = ("rejected", "rolled_back")
"""Outcomes whose reason is worth a line."""


class Policies(NamedTuple):
    """What is known of a robot's policies.

    Attributes:
        held: versions on the disk, ascending.
        record: the ledger.
        floor: versions up to here are not accepted again.
        status: of the control process; ``None`` if it is not running.
    """

    held: Sequence[int]
    record: Record
    floor: int
    status: Status | None


def standing(policies: Policies, version: int) -> str:
    """What ``version`` is to this robot, in a few words; empty if it has never been tried."""
    record, status = policies.record, policies.status
    words = []
    if status is not None and status.active_version == version:
        words.append("drives")
    if record.pinned == version:
        words.append("pinned")
    if version in record.versions:
        words.append("committed")
    outcome = _last_outcome(status, version)
    if outcome:
        words.append(outcome)
    elif not words and 0 < record.pinned < version:
        words.append(f"held back: this robot is pinned to policy {record.pinned}")
    return ", ".join(words)


def listing(policies: Policies) -> str:
    """One line per version, the newest first, and what keeps others away."""
    known = sorted({*policies.held, *policies.record.versions}, reverse=True)
    lines = [f"{version:>8}  {standing(policies, version)}".rstrip() for version in known]
    lines = lines or ["no policy is held"]
    if policies.floor:
        lines.append(f"not newer than {policies.floor}: accepted only if held")
    if policies.status is None:
        lines.append("control is not running")
    return "\n".join(lines)


def description(policies: Policies, manifest: Manifest) -> str:
    """Everything about one bundle but its numbers."""
    facts = {
        "version": manifest.version,
        "standing": standing(policies, manifest.version) or "not tried",
        "parent": manifest.parent_version or "none",
        "task": manifest.task,
        "run": manifest.run,
        "commit": manifest.commit,
        "graph": manifest.graph_sha256,
        "weights": manifest.weights_sha256,
        "control rate": f"{manifest.control_hz} Hz",
        "exploration": manifest.exploration_scale,
        **{f"evaluation {name}": value for name, value in sorted(manifest.evaluation.items())},
    }
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


def _last_outcome(status: Status | None, version: int) -> str:
    """Why control turned it down, if that was the last it said of it."""
    events = [] if status is None else [each for each in status.events if each.version == version]
    if not events or events[-1].outcome not in TALK:
        return ""
    return f"{events[-1].outcome.replace('_', ' ')}: {events[-1].reason}"
