"""View models as ECharts options. Pure: dictionaries in the vocabulary of ECharts.

Colours are those of Okabe and Ito, which people who see fewer colours can tell apart; dashes and
symbols say the same once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from offboard.page.learning import Diet, Returns
from offboard.page.prior import Plane, Reliability
from offboard.page.strip import Panel

Options = dict[str, Any]

BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, INK, FAINT = (
    *("#0072b2", "#d55e00", "#009e73", "#aa4499", "#e69f00", "#56b4e9", "#334155", "#94a3b8"),
)
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY)
_TEXT = {"fontFamily": "Inter, system-ui, sans-serif", "color": INK}
_AXIS = {
    "nameLocation": "middle",
    "nameTextStyle": {"color": INK, "fontSize": 12},
    "axisLabel": {"color": "#64748b"},
    "splitLine": {"lineStyle": {"color": "#e8edf3"}},
    "axisLine": {"lineStyle": {"color": "#cbd5e1"}},
}


def strip_chart(panel: Panel) -> Options:
    """Lines over the last seconds, without animation: it is redrawn twice a second."""
    series = [
        _line(line.name, zip(panel.times_s, line.values, strict=True), dashed=line.dashed)
        for line in panel.lines
    ]
    return {
        **_frame("seconds, 0 is the newest record", panel.unit, legend=True),
        "animation": False,
        "series": series,
    }


def returns_chart(found: Returns, source_level: float | None) -> Options:
    """Return by episode; exploring or not; where the policy changed; the source's own level."""
    totals = [*enumerate(found.totals, start=1)]
    rounded = [(episode, _short(total)) for episode, total in totals]
    changes = [{"xAxis": episode - 0.5} for episode in found.changes]
    path = {
        **_line("all", rounded),
        "lineStyle": {"width": 1, "color": FAINT},
        "markLine": _mark(changes, GREEN),
        "tooltip": {"show": False},
        "silent": True,
    }
    points = [
        _dots(name, [p for p, e in zip(rounded, found.explored, strict=True) if e is explored],
              colour, symbol)
        for explored, name, colour, symbol in (
            (True, "exploring", ORANGE, "circle"), (False, "not exploring", BLUE, "rect"),
        )
    ]  # fmt: skip
    chart = {
        **_frame("episode of the robot", "return", legend=True, item=True),
        "series": [path, *points],
    }
    chart["legend"]["data"] = [series["name"] for series in points]
    if source_level is not None:  # the last series makes room for it
        level = [{"yAxis": source_level, "name": "best in the source task"}]
        chart["series"][1]["markLine"] = _mark(level, INK, named=True)
        chart["series"].append({**_line("", [(1, _short(source_level))]), "silent": True})
    chart["xAxis"] |= {"minInterval": 1, "min": 0}
    return chart


def diet_chart(found: Diet) -> Options:
    """Share of prior data and error of the model, by steps of the robot."""
    share = _line("share of prior data", _pairs(found.steps, found.prior_share), BLUE)
    error = _line("model error", _pairs(found.steps, found.model_error), ORANGE, dashed=True)
    return {
        **_frame("steps measured on the robot", "share", legend=True),
        "series": [{**share, "showSymbol": True}, {**error, "showSymbol": True}],
    }


def source_chart(curve: Sequence[tuple[int, float]]) -> Options:
    """The source task's training in simulation."""
    line = _line("return", [(step, _short(total)) for step, total in curve])
    return {
        **_frame("steps in the source's simulator", "return"),
        "series": [{**line, "showSymbol": True}],
    }


def plane_chart(found: Plane) -> Options:
    """Generated trajectories by uncertainty and return."""
    return {
        **_frame("mean uncertainty (less is surer)", "return", legend=True, item=True),
        "series": [
            _dots("dropped", found.dropped, FAINT, "triangle"),
            _dots("kept", found.kept, GREEN, "circle"),
        ],
    }


def reliability_chart(found: Reliability) -> Options:
    """True error by how unsure the model was; both on logarithmic axes."""
    x = [max(value, 1e-9) for value in found.uncertainty]
    low, median, high = (
        [max(value, 1e-12) for value in values] for values in (found.low, found.median, found.high)
    )
    lines = (
        _line("9 of 10 steps are below", _pairs(x, high), FAINT, dashed=True),
        _line("the middle step", _pairs(x, median), BLUE),
        _line("1 of 10 steps is below", _pairs(x, low), FAINT, dashed=True),
    )
    chart = _frame("uncertainty, a tenth of the steps each", "true squared error", legend=True)
    chart["xAxis"] |= {"type": "log"}
    chart["yAxis"] |= {"type": "log"}
    return {**chart, "series": [{**line, "showSymbol": True} for line in lines]}


def _frame(x: str, y: str, legend: bool = False, item: bool = False) -> Options:
    """Axes with names and room for them; values of all series under the pointer, or of one."""
    return {
        "textStyle": _TEXT,
        "color": [*PALETTE],
        "grid": {"left": 54, "right": 14, "top": 34 if legend else 14, "bottom": 46},
        "tooltip": {"trigger": "item" if item else "axis", "confine": True},
        "legend": {"show": legend, "type": "scroll", "top": 0, "itemHeight": 9, "itemWidth": 18},
        "xAxis": {**_AXIS, "type": "value", "name": x, "nameGap": 28, "scale": True},
        "yAxis": {**_AXIS, "type": "value", "name": y, "nameGap": 40, "scale": True},
    }


def _line(
    name: str, points: Iterable[Sequence[Any]], colour: str | None = None, dashed: bool = False
) -> Options:
    style: Options = {"width": 2, "type": "dashed" if dashed else "solid"}
    found: Options = {"type": "line", "name": name, "data": [[*point] for point in points]}
    found |= {"showSymbol": False, "lineStyle": style, "symbolSize": 6}
    if colour is not None:
        style["color"] = colour
        found["itemStyle"] = {"color": colour}
    return found


def _dots(name: str, points: Iterable[Sequence[Any]], colour: str, symbol: str) -> Options:
    return {
        "type": "scatter",
        "name": name,
        "data": [[*point] for point in points],
        "symbol": symbol,
        "symbolSize": 8,
        "itemStyle": {"color": colour, "opacity": 0.85},
    }


def _mark(where: list[Options], colour: str, named: bool = False) -> Options:
    """Straight lines across the chart."""
    return {
        "symbol": "none",
        "silent": True,
        "data": where,
        "label": {"show": named, "formatter": "{b}", "position": "insideEndTop", "color": colour},
        "lineStyle": {"color": colour, "opacity": 0.45, "type": "dashed" if named else "solid"},
    }


def _pairs(x: Sequence[float], y: Sequence[float | None]) -> list[tuple[float, float | None]]:
    return [
        (_short(one), None if other is None else _short(other))
        for one, other in zip(x, y, strict=True)
    ]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
