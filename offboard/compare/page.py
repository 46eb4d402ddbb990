"""The page that compares runs: curves, results, what was set differently, and where it lies."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from functools import partial

import matplotlib as mpl
from matplotlib.axes import Axes

from offboard.bench.score import Estimate
from offboard.compare.groups import Group, Topic, differences
from offboard.compare.recorded import Recorded
from offboard.report import document, gallery, interval, shown, svg, table

TITLE = "Runs"
QUOTABLE = 5
"""Seeds below which an interval says little."""

_COLOURS = mpl.colormaps["tab10"]


def page(topics: dict[Topic, list[Group]]) -> str:
    """One self-contained document; ``topics`` as :func:`offboard.compare.groups.grouped`."""
    body = [_reading(topics)]
    for topic, groups in topics.items():
        body += _section(topic, groups)
    runs = [run for groups in topics.values() for group in groups for run in group.runs]
    return document(TITLE, [*body, "<h2>Where it comes from</h2>", _provenance(runs)])


def _section(topic: Topic, groups: Sequence[Group]) -> Iterable[str]:
    yield f"<h2>{html.escape(f'{topic.kind} {topic.subject}'.strip())}</h2>"
    tags = sorted({tag for group in groups for tag in group.tags if not tag.startswith("time/")})
    yield gallery({tag: svg(partial(_draw, groups=groups, tag=tag)) for tag in tags})
    yield _results(groups)
    if len(groups) > 1:
        yield "<h3>What was set differently</h3>" + _settings(groups)


def _draw(ax: Axes, groups: Sequence[Group], tag: str) -> None:
    for index, group in enumerate(groups):
        if tag not in group.tags:
            continue
        steps, mean, ci95 = group.band(tag)
        colour = _COLOURS(index % 10)
        ax.plot(
            steps, mean, color=colour, marker="." if len(steps) < 3 else None,
            label=f"{group.label} ({len(group.runs)})",
        )  # fmt: skip
        if ci95 is not None:
            ax.fill_between(steps, *ci95, color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel="environment steps", ylabel=tag.partition("/")[2])
    ax.legend(fontsize=7)


def _results(groups: Sequence[Group]) -> str:
    """One row for each number, one column for each group."""
    names = sorted({name for group in groups for run in group.runs for name in run.numbers or {}})
    tags = sorted({tag for group in groups for tag in group.tags if tag.startswith("eval/")})
    heads = ["", *(f"{group.label} ({_seeds(group.runs)})" for group in groups)]
    rows = [
        *([f"last {tag}", *(_shown(group.last(tag)) for group in groups)] for tag in tags),
        *([name, *(_shown(group.number(name)) for group in groups)] for name in names),
    ]
    return table(heads, rows) if rows else "<p>Nothing was measured yet.</p>"


def _shown(found: Estimate | None) -> str | None:
    """With its interval, unless all seeds agree; a count is no 1e+04."""
    if found is None:
        return None
    if found.ci95 is None or math.isclose(*found.ci95, rel_tol=1e-9):
        return shown(int(found.value) if found.value.is_integer() else found.value)
    return interval(found.value, found.ci95)


def _seeds(runs: Sequence[Recorded]) -> str:
    finished = sum(run.numbers is not None for run in runs)
    whole = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
    return whole if finished == len(runs) else f"{finished} of {whole} finished"


def _settings(groups: Sequence[Group]) -> str:
    different = differences(groups)
    if not different:
        return "<p>Nothing: they differ in what made them.</p>"
    return table(["", *(g.label for g in groups)], [[k, *row] for k, row in different.items()])


def _provenance(runs: Sequence[Recorded]) -> str:
    rows = [(run.path, run.kind, run.subject, run.seed, run.commit, _state(run)) for run in runs]
    return table(("run", "stage", "learned", "seed", "commit", ""), rows)


def _state(run: Recorded) -> str:
    return "unfinished" if run.numbers is None else "finished"


def _reading(topics: dict[Topic, list[Group]]) -> str:
    fewest = min(len(group.runs) for groups in topics.values() for group in groups)
    few = f" With fewer than {QUOTABLE} seeds they say little." if fewest < QUOTABLE else ""
    return (
        "<p>A line is the interquartile mean over the seeds of one configuration (their number is "
        "in brackets), a band its 95 % bootstrap interval; numbers in tables likewise. One seed "
        f"has no interval.{few}</p>"
    )
