"""The page's few building blocks. Each shows a view model and touches the screen only on change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nicegui import ui

from offboard.page.charts import Options
from offboard.page.facts import Fact, Level

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


class Chip:
    """A word on a coloured ground."""

    def __init__(self) -> None:
        self._label = ui.label().classes("chip")
        self._shown: tuple[str, Level] | None = None

    def show(self, text: str, level: Level) -> None:
        """Show ``text``."""
        if self._shown != (text, level):
            self._shown = text, level
            self._label.set_text(text)
            self._label.classes(replace=f"chip {level.value}")


class Facts:
    """Labelled values one below the other; a tap on a label opens its explanation."""

    def __init__(self, spread: bool = False) -> None:
        """``spread`` uses several columns where there is room."""
        self._place = ui.element("div").classes("facts spread" if spread else "facts")
        self._rows: dict[str, _Row] = {}

    def show(self, facts: Sequence[Fact]) -> None:
        """Show ``facts``; rows stay open while their labels stay."""
        if [fact.label for fact in facts] != [*self._rows]:
            self._place.clear()
            with self._place:
                self._rows = {fact.label: _Row(fact) for fact in facts}
        for fact in facts:
            self._rows[fact.label].show(fact)


class _Row:
    def __init__(self, fact: Fact) -> None:
        with ui.element("details").classes("fact"):
            with ui.element("summary").props(f'title="{_quoted(fact.hint)}"'):
                ui.label(fact.label).classes("label")
                self._value = ui.label().classes("value")
            self._hint = ui.label(fact.hint).classes("hint")
        self._shown: Fact | None = None

    def show(self, fact: Fact) -> None:
        if fact != self._shown:
            self._shown = fact
            self._value.set_text(fact.value)
            self._value.classes(replace=f"value {fact.level.value}")
            self._hint.set_text(fact.hint)


class Chart:
    """A titled chart with a sentence on how to read it."""

    def __init__(self, title: str, hint: str, low: bool = False) -> None:
        with box() as self._box:
            heading(title, hint, small=True)
            self._chart = ui.echart({}).classes("chart low" if low else "chart")
        self._chart.props(f'role="img" aria-label="{_quoted(title)}"')

    def show(self, options: Options | None) -> None:
        """Draw ``options`` if they are new; without any the chart is hidden."""
        self._box.set_visibility(options is not None)
        if options is not None and self._chart.options != options:
            self._chart.options.clear()
            self._chart.options.update(options)
            self._chart.update()


@contextmanager
def box(level: Level = Level.PLAIN) -> Iterator[ui.element]:
    """A white box; a coloured edge where something is wrong."""
    with ui.element("div").classes(f"box {level.value}") as found:
        yield found


def heading(title: str, lead: str = "", small: bool = False) -> None:
    """A title, and what one sees below it."""
    with ui.element("div"):
        ui.html(_quoted(title), sanitize=False, tag="h2" if small else "h1").classes("title")
        if lead:
            ui.html(_quoted(lead), sanitize=False, tag="p").classes("lead")


def empty(title: str, text: str) -> None:
    """Says why there is nothing to see, and what will change that."""
    with ui.element("div").classes("box empty"):
        ui.html(f"<b>{_quoted(title)}</b>{_quoted(text)}", sanitize=False)


def _quoted(text: str) -> str:
    """Text inside markup."""
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    return "".join(signs.get(sign, sign) for sign in text)
