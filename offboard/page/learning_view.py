"""``/learning``: whether the robot gets better, and from what it learns."""

from __future__ import annotations

from nicegui import ui

from offboard.page.charts import diet_chart, returns_chart, source_chart
from offboard.page.frame import Desk, frame
from offboard.page.learning import composition, diet, progress, returns, source_curve
from offboard.page.parts import Chart, Facts, box, empty, heading
from offboard.page.run_files import Run


def build(desk: Desk) -> None:
    """The page."""
    with frame(desk, "/learning", "Learning") as shell:
        heading(
            "Learning",
            "The robot tries, the server learns from it and sends a better policy. "
            "The return is the reward of one episode added up; higher is better.",
        )
        with box():
            facts = Facts(spread=True)
        shell.follow(lambda run, _: facts.show(progress(run)))
        shell.follow(_Curves().show)


class _Curves:
    """What is drawn; until there is an episode, a word in its place."""

    def __init__(self) -> None:
        self._waiting = ui.element("div")
        with self._waiting:
            empty(
                "No episode is finished yet.",
                "The learning curve begins with the first one; an episode is one try at the task.",
            )
        with ui.element("div").classes("grid wide") as self._curves:
            self._returns = Chart(
                "Return of each episode",
                "Each point is one try of the robot. Green lines: a new policy took over. "
                "While it explores it tries things on purpose, which costs some return.",
            )
            self._diet = Chart(
                "Prior data and model error",
                "How much of what is learned from comes from the source task. "
                "It adapts: less with every step of the robot, and less when the model errs here.",
            )
        with ui.element("div").classes("grid wide"):
            with box():
                heading("What it learns from", "Prior data is the older task's.", small=True)
                self._facts = Facts()
            self._source = Chart("Training in the source task", "In simulation, before this robot.")

    def show(self, run: Run, _: float) -> None:
        """Show the curves of ``run``."""
        found = returns(run)
        self._waiting.set_visibility(not found.totals)
        self._curves.set_visibility(bool(found.totals))
        if found.totals:
            level = run.source_result.get("expert_return")
            self._returns.show(returns_chart(found, level))
            self._diet.show(diet_chart(diet(run)))
        self._facts.show(composition(run))
        self._source.show(source_chart(source_curve(run)))
