"""What every page has around it: name of the run, state of the server, the way to the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nicegui import ui

from offboard.page.alarms import SERVER_SILENT_S, alarms
from offboard.page.facts import Level
from offboard.page.parts import STYLE, Chip
from offboard.page.run_files import Run, RunFiles

PAGES = {
    "/": "Robots",
    "/learning": "Learning",
    "/prior": "Prior data",
    "/policies": "Policies",
    "/alarms": "Alarms",
}
EVERY_S = 1.0
ACCENT = "#0f4c81"
_READ_EVERY_S = 0.4

Show = Callable[[Run, float], None]


class Desk:
    """One run, read for all viewers together."""

    def __init__(self, path: Path, clock_s: Callable[[], float] = time.time) -> None:
        """``clock_s`` is Unix time."""
        self.path = path
        self.clock_s = clock_s
        self._files = RunFiles(path)
        self._read_s = float("-inf")
        self._run = Run(path.name)

    def read(self) -> Run:
        """The run, at most half a second old."""
        if (now_s := self.clock_s()) >= self._read_s + _READ_EVERY_S:
            self._run, self._read_s = self._files.read(), now_s
        return self._run


def serving(run: Run, now_s: float) -> bool:
    """Is the server of this run at work?"""
    silent_s = now_s - run.said_s
    return run.status is not None and not run.finished and silent_s <= SERVER_SILENT_S


class Shell:
    """One viewer's page: shows the run once, then every second."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def follow(self, show: Show, every_s: float = EVERY_S) -> None:
        """Call ``show`` now and again and again."""
        self._turn(show)
        ui.timer(every_s, lambda: self._turn(show))

    def _turn(self, show: Show) -> None:
        show(self._desk.read(), self._desk.clock_s())


@contextmanager
def frame(desk: Desk, here: str, title: str) -> Iterator[Shell]:
    """A page at address ``here``; its body is built inside the block."""
    ui.add_css(STYLE)
    ui.colors(primary=ACCENT)
    ui.page_title(f"{title} – wombet")
    shell = Shell(desk)
    with ui.element("header").classes("bar"), ui.element("div").classes("bar-in"):
        shell.follow(_top())
        _tabs(here)
    with ui.element("main").classes("main"):
        yield shell
    with ui.element("footer").classes("foot"):
        ui.link("Log out", "/logout").classes("quiet")


def _top() -> Show:
    """The first line; returns what keeps it up to date."""
    with ui.element("div").classes("row-top"):
        ui.link("wombet", "/").classes("brand").style("text-decoration:none")
        name = ui.label().classes("run grow")
        with ui.link(target="/alarms"):
            warned = Chip()
        state = Chip()

    def show(run: Run, now_s: float) -> None:
        name.set_text(run.name)
        state.show(*_state(run, now_s))
        urgent = sum(alarm.level is not Level.PLAIN for alarm in alarms(run, now_s))
        warned.show(f"{urgent} to see" if urgent else "all well", _urgency(run, now_s, urgent))

    return show


def _state(run: Run, now_s: float) -> tuple[str, Level]:
    if run.status is None:
        return "server starting", Level.PLAIN
    if run.finished:
        return "server ended", Level.PLAIN
    if serving(run, now_s):
        return "server live", Level.GOOD
    return "server silent", Level.BAD


def _urgency(run: Run, now_s: float, urgent: int) -> Level:
    if urgent == 0:
        return Level.GOOD
    bad = any(alarm.level is Level.BAD for alarm in alarms(run, now_s))
    return Level.BAD if bad else Level.LOOK


def _tabs(here: str) -> None:
    with ui.element("nav").classes("tabs").props('aria-label="Views"'):
        for address, title in PAGES.items():
            link = ui.link(title, address)
            if address == here:
                link.classes("here").props('aria-current="page"')
