"""``/``: every robot, and what it is doing."""

from __future__ import annotations

from nicegui import ui

from offboard.page.fleet import RobotCard, fleet, server_facts
from offboard.page.frame import Desk, frame
from offboard.page.parts import Chip, Facts, box, empty, heading
from offboard.page.run_files import Run

SHOWN_MAX = 60
SEARCH_FROM = 12


def build(desk: Desk) -> None:
    """The page."""
    with frame(desk, "/", "Robots") as shell:
        heading(
            "Robots",
            "Each robot works by itself and reports every second. "
            "Tap a label to learn what it means.",
        )
        shell.follow(_Robots().show)
        with box():
            heading("This server", small=True)
            facts = Facts(spread=True)
        shell.follow(lambda run, now_s: facts.show(server_facts(run, now_s)))


class _Robots:
    """The list; tiles stay where they are while their robots are the same."""

    def __init__(self) -> None:
        self._search = ui.input(placeholder="Find a robot by name").props(
            "dense outlined clearable"
        )
        self._search.set_visibility(False)
        self._place = ui.element("div").classes("grid")
        self._more = ui.label().classes("soft")
        self._tiles: dict[str, _Tile] = {}
        self._built = False

    def show(self, run: Run, now_s: float) -> None:
        """Show the robots of ``run``."""
        cards = fleet(run, now_s)
        self._search.set_visibility(len(cards) > SEARCH_FROM)
        wanted = (self._search.value or "").lower()
        found = [card for card in cards if wanted in card.name]
        self._lay_out(found[:SHOWN_MAX], run)
        for card in found[:SHOWN_MAX]:
            self._tiles[card.name].show(card)
        hidden = len(found) - SHOWN_MAX
        self._more.set_text(f"and {hidden} more; search by name" if hidden > 0 else "")

    def _lay_out(self, cards: list[RobotCard], run: Run) -> None:
        names = [card.name for card in cards]
        if self._built and names == [*self._tiles]:
            return
        self._built = True
        self._place.clear()
        with self._place:
            self._tiles = {name: _Tile(name) for name in names}
            if not names:
                _nobody(run)


class _Tile:
    def __init__(self, name: str) -> None:
        with ui.element("div").classes("box") as self._box:
            with ui.element("div").classes("row-top"):
                ui.link(name, f"/robot/{name}").classes("name grow")
                self._chip = Chip()
            self._meaning = ui.label().classes("soft")
            self._facts = Facts()
            ui.link("Live charts →", f"/robot/{name}").classes("quiet")

    def show(self, card: RobotCard) -> None:
        self._box.classes(replace=f"box {card.level.value}")
        self._chip.show(card.doing, card.level)
        self._meaning.set_text(card.meaning)
        self._facts.show(card.facts)


def _nobody(run: Run) -> None:
    if run.status is None:
        empty(
            "The server is starting.",
            "It compiles what it needs first, up to a minute on a machine that never did.",
        )
        return
    unit = run.config.get("unit", "a robot")
    empty(
        "No robot has spoken yet.",
        f"The server listens on {run.status.endpoint}. As soon as {unit} is switched on and its "
        "agent runs, it appears here.",
    )
