"""``/robot/NAME``: what one robot measures and does, a second or two behind it."""

from __future__ import annotations

from nicegui import ui

from offboard.page.charts import strip_chart
from offboard.page.fleet import robot_card
from offboard.page.frame import Desk, frame, serving
from offboard.page.parts import Chart, Chip, Facts, box, empty
from offboard.page.recorded import Look, Recorded
from offboard.page.run_files import Run
from offboard.page.strip import Panel, doing, panels
from protocol.errors import WombetError

REDRAWN_EVERY_S = 0.5


def build(desk: Desk, name: str) -> None:
    """The page of robot ``name``."""
    with frame(desk, "/", name) as shell:
        ui.link("← all robots", "/").classes("quiet")
        with box():
            with ui.element("div").classes("row-top"):
                ui.label(name).classes("name grow")
                chip = Chip()
            meaning, facts = ui.label().classes("soft"), Facts(spread=True)

        def show(run: Run, now_s: float) -> None:
            robot = next((each for each in run.robots if each.name == name), None)
            if robot is None:
                meaning.set_text("This server has not heard of it since it started.")
                return
            card = robot_card(robot, run, now_s)
            chip.show(card.doing, card.level)
            meaning.set_text(card.meaning)
            facts.show(card.facts)

        shell.follow(show)
        shell.follow(_Strips(Recorded(desk.path, name)).show, REDRAWN_EVERY_S)


class _Strips:
    """The charts; built anew only when there are other ones to show."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        with ui.element("div").classes("row-top"):
            with ui.element("div").classes("grow"):
                self._origin = ui.label().classes("soft")
                self._now = ui.label().classes("soft")
            self._joint = ui.select([], label="joint").props("dense outlined")
        self._place = ui.element("div").classes("grid wide")
        self._charts: dict[str, Chart] = {}
        self._built = False

    def show(self, run: Run, now_s: float) -> None:
        """Show the newest records."""
        look, trouble = self._look(run, now_s)
        found = [] if look is None else panels(look.shown, self._chosen(look))
        self._origin.set_text("" if look is None or not found else look.origin)
        self._now.set_text(doing(look.shown.rows) if look is not None and found else "")
        self._lay_out(found, trouble)
        for panel in found:
            self._charts[panel.title].show(strip_chart(panel))

    def _look(self, run: Run, now_s: float) -> tuple[Look | None, str]:
        try:
            return self._recorded.look(now_s, serving(run, now_s)), ""
        except WombetError as error:
            return None, str(error)

    def _chosen(self, look: Look) -> str:
        joints = [*look.shown.actions]
        if self._joint.options != joints:
            self._joint.set_options(joints, value=joints[0])
        self._joint.set_visibility(len(joints) > 1)
        return str(self._joint.value)

    def _lay_out(self, found: list[Panel], trouble: str) -> None:
        titles = [panel.title for panel in found]
        if self._built and titles == [*self._charts]:
            return
        self._built = True
        self._joint.set_visibility(bool(titles) and len(self._joint.options) > 1)
        self._place.clear()
        with self._place:
            self._charts = {
                panel.title: Chart(panel.title, panel.hint, low=True) for panel in found
            }
            if not found:
                empty(
                    "Nothing to draw yet.",
                    trouble
                    or "Lines appear while its motors are powered: when it drives to its "
                    "start, works, or holds. Records of an idle robot are not kept.",
                )
