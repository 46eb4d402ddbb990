"""Lines and bands over time as SVG, without any library. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH, LEFT, POINTS = 960, 60, 700
HEIGHT, ROW = 110, 14
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
DASHES = ("none", "6 3", "2 2")
"""After all colours, the next kind of line."""
NAMES_IN_A_ROW, NAME_WIDTH = 6, 148

Array = NDArray[np.float64]


class Band(NamedTuple):
    """A named stretch of time."""

    from_s: float
    until_s: float
    label: str
    colour: str


class Axis(NamedTuple):
    """The time that a picture shows."""

    from_s: float
    until_s: float

    def x(self, time_s: float) -> float:
        """Where a time is drawn."""
        inside = min(max(time_s, self.from_s), self.until_s)
        span_s = max(self.until_s - self.from_s, 1e-9)
        return LEFT + (WIDTH - LEFT) * (inside - self.from_s) / span_s


def lines(axis: Axis, title: str, time_s: Array, values: Array, names: Sequence[str]) -> str:
    """One line per column of ``values`` (N, K), names above them, with the range on the left."""
    low, high = _range(values)
    top = ROW * -(-len(names) // NAMES_IN_A_ROW)
    bottom = top + HEIGHT
    keep = np.linspace(0, len(time_s) - 1, min(len(time_s), POINTS)).astype(int)
    parts = [_text(4, 14, title), _text(4, bottom - 4, f"{low:.2f}")]
    parts += [_text(4, top + 28, f"{high:.2f}")]
    parts.append(_rectangle(LEFT, top, WIDTH - LEFT, HEIGHT, "#f7f7f7"))
    for index, name in enumerate(names):
        y = bottom - (HEIGHT - 8) * (values[keep, index] - low) / (high - low) - 4
        dots = " ".join(
            f"{axis.x(float(at)):.1f},{float(to):.1f}"
            for at, to in zip(time_s[keep], y, strict=True)
        )
        parts += [_line(dots, index), *_legend(name, index)]
    return _picture(bottom, parts)


def bands(axis: Axis, title: str, rows: Sequence[Sequence[Band]]) -> str:
    """Named stretches, one row above the other."""
    height = max(20 * len(rows), 20)
    parts = [_text(4, 14, title)]
    for index, row in enumerate(rows):
        for band in row:
            x, end = axis.x(band.from_s), axis.x(band.until_s)
            parts.append(_rectangle(x, 20 * index + 2, max(end - x, 2.0), 16, band.colour))
            parts.append(_text(min(x + 3, WIDTH - 60), 20 * index + 14, band.label))
    return _picture(height, parts)


def _legend(name: str, index: int) -> list[str]:
    """A piece of the line and its name, in rows from the left."""
    row, column = divmod(index, NAMES_IN_A_ROW)
    x, y = LEFT + NAME_WIDTH * column, ROW * row + 11
    return [_line(f"{x},{y - 4} {x + 20},{y - 4}", index), _text(x + 24, y, name, _colour(index))]


def _line(dots: str, index: int) -> str:
    dash = DASHES[index // len(COLOURS) % len(DASHES)]
    return (
        f'<polyline points="{dots}" fill="none" stroke="{_colour(index)}" '
        f'stroke-dasharray="{dash}"/>'
    )


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _range(values: Array) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def _picture(height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">{"".join(parts)}</svg>'


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" '
        f'fill="{colour}" fill-opacity="0.5"/>'
    )


def _text(x: float, y: float, text: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="{colour}">{escape(text)}</text>'
