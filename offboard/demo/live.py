"""What the demo shows while the robot learns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from offboard.serve_status import ServeStatus
from protocol.modes import Mode

LINE_EVERY_S = 5.0


class View:
    """A table that is redrawn, or a line now and then where the output is no terminal."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console, self._live = console, live
        self._told_s = 0.0

    def show(self, status: ServeStatus) -> None:
        """Show the present state."""
        facts = _facts(status)
        if self._live is not None:
            table = Table(title="target: the robot is learning", show_header=False)
            for key, value in facts.items():
                table.add_row(key, value)
            self._live.update(table)
        elif time.monotonic() - self._told_s > LINE_EVERY_S:
            self._told_s = time.monotonic()
            line = ", ".join(f"{key} {value}" for key, value in facts.items())
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def view() -> Iterator[View]:
    """The view for this terminal, or for a pipe."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield View(console, live)
    else:
        yield View(console, None)


def _facts(status: ServeStatus) -> dict[str, str]:
    facts = {"phase": status.phase, "episode": str(len(status.episodes))}
    if status.episodes:
        facts["last returns"] = " ".join(f"{e.total:.0f}" for e in status.episodes[-5:])
    facts["policy published"] = str(status.published)
    if status.report is not None:
        report = status.report
        facts["mode"] = Mode(report.mode).name
        facts["policy active"] = str(report.active_version)
        facts["records spooled"] = str(report.spooled)
        facts["records acknowledged"] = str(status.committed)
        facts["ticks"] = str(report.ticks)
        facts["ticks missed"] = str(report.missed_ticks)
    facts["offline fraction"] = f"{status.evidence.offline_fraction:.2f}"
    facts["updates"] = str(status.evidence.updates)
    return facts
