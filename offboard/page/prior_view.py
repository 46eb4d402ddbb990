"""``/prior``: the generated data, and whether the model knows when it does not know."""

from __future__ import annotations

from nicegui import ui

from offboard.page.charts import plane_chart, reliability_chart
from offboard.page.frame import Desk, frame
from offboard.page.parts import Chart, Facts, box, empty, heading
from offboard.page.prior import generation, honesty, plane, reliability
from offboard.page.run_files import Run


def build(desk: Desk) -> None:
    """The page."""
    with frame(desk, "/prior", "Prior data") as shell:
        heading(
            "Prior data",
            "Before the robot moved, a model of the older task imagined many tries. "
            "Only those that promise much and are certain enough are learned from.",
        )
        shell.follow(_Prior().show)


class _Prior:
    """What generation left, as far as it is there."""

    def __init__(self) -> None:
        self._nothing = ui.element("div")
        with self._nothing:
            empty(
                "Nothing was generated.",
                "This run began without generated data, or its folder is not there any more.",
            )
        with ui.element("div").classes("grid wide"):
            self._plane = Chart(
                "Generated tries, kept and dropped",
                "Each point is one imagined try. The filter keeps what lies high and to the left: "
                "much return, little uncertainty.",
            )
            self._reliability = Chart(
                "Does the model know when it is unsure?",
                "Steps it never saw, sorted by how unsure it was. If the lines rise, it errs where "
                "it says it might.",
            )
        with ui.element("div").classes("grid wide"):
            with box():
                heading("Generation", small=True)
                self._generation = Facts()
            with box() as self._trust:
                heading("Trust", small=True)
                self._honesty = Facts()

    def show(self, run: Run, _: float) -> None:
        """Show what ``run`` began with."""
        found = None if run.held_out is None else reliability(run.held_out)
        self._nothing.set_visibility(run.generated is None and found is None)
        made = None if run.generated is None else plane_chart(plane(run.generated))
        self._plane.show(made)
        self._reliability.show(None if found is None else reliability_chart(found))
        self._generation.show(generation(run))
        facts = honesty(run)
        self._trust.set_visibility(bool(facts))
        self._honesty.show(facts)
