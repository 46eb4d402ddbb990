"""``/alarms``: what somebody should look at, and what to do about it."""

from __future__ import annotations

from nicegui import ui

from offboard.page.alarms import Alarm, alarms
from offboard.page.facts import Level
from offboard.page.frame import Desk, frame
from offboard.page.parts import Chip, box, empty, heading
from offboard.page.run_files import Run

WORDS = {Level.BAD: "act", Level.LOOK: "look", Level.PLAIN: "note"}


def build(desk: Desk) -> None:
    """The page."""
    with frame(desk, "/alarms", "Alarms") as shell:
        heading("Alarms", "The most urgent first. They go away by themselves when the cause does.")
        shell.follow(_Alarms().show)


class _Alarms:
    def __init__(self) -> None:
        self._place = ui.element("div").classes("grid").style("grid-template-columns:1fr")
        self._shown: list[Alarm] | None = None

    def show(self, run: Run, now_s: float) -> None:
        """Show what there is at ``now_s``."""
        found = alarms(run, now_s)
        if found == self._shown:
            return
        self._shown = found
        self._place.clear()
        with self._place:
            if not found:
                empty("All is well.", "Nothing needs anybody at the moment.")
            for alarm in found:
                _tile(alarm)


def _tile(alarm: Alarm) -> None:
    with box(alarm.level), ui.element("div").classes("alarm"):
        Chip().show(WORDS[alarm.level], alarm.level)
        ui.label(f"{alarm.where}: {alarm.what}").style("font-weight:550")
        ui.label(alarm.advice).classes("advice")
