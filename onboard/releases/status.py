"""What a unit knows about its releases, for people and for the fleet's server."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from onboard.releases.evidence import Pulse
from onboard.releases.journal import Journal, Phase
from onboard.releases.services import ServiceState

AWAY = "away"


class ReleaseStatus(Struct, frozen=True):
    """One look.

    Attributes:
        unit: who this is.
        current: the release in force; ``previous`` and ``golden`` are what it would return to.
        pending: the release on trial; empty if none is.
        phase: settled, trial or returned.
        boot_count: starts of the machine since the one on trial was last seen ticking.
        counter: of the newest assignment obeyed.
        healthy: nothing is on trial, and control runs, answers and was not restarted.
        mode: control's, or ``away``.
        log: the last entries, oldest first.
        trouble: what is wrong with the journal.
    """

    unit: str
    current: str
    previous: str
    golden: str
    pending: str
    phase: str
    boot_count: int
    counter: int
    healthy: bool
    mode: str
    log: list[dict[str, Any]]
    trouble: str = ""

    def json(self) -> str:
        """One line."""
        return msgspec.json.encode(self).decode()

    def text(self) -> str:
        """Some lines for people."""
        golden, previous = self.golden or "none", self.previous or "none"
        lines = [
            f"{self.unit}: release {self.current} ({self.phase}), control {self.mode}",
            f"previous {previous}, golden {golden}, assignment {self.counter}",
            *(f"warning: {self.trouble}" for _ in range(bool(self.trouble))),
        ]
        return "\n".join([*lines, *(_entry_text(entry) for entry in self.log[-5:])])


def release_status(
    unit: str, journal: Journal, trouble: str, control: ServiceState, pulse: Pulse | None
) -> ReleaseStatus:
    """Put together what journal, systemd and control say."""
    runs = control.active == "active" and control.restarts == 0 and pulse is not None
    return ReleaseStatus(
        unit=unit,
        current=journal.current,
        previous=journal.previous,
        golden=journal.golden,
        pending=journal.pending,
        phase=journal.phase.value,
        boot_count=journal.boots,
        counter=journal.counter,
        healthy=journal.phase is Phase.SETTLED and runs,
        mode=AWAY if pulse is None else pulse.mode,
        log=[msgspec.to_builtins(entry) for entry in journal.log],
        trouble=trouble,
    )


def _entry_text(entry: dict[str, Any]) -> str:
    reason = f": {entry['reason']}" if entry["reason"] else ""
    return f"{entry['event']} {entry['release']}{reason}"
