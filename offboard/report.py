"""Reports: one HTML file with its plots inside, no scripts and no outside resources."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .8rem .15rem 0;text-align:left}
td:nth-child(2){font-variant-numeric:tabular-nums}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:1rem}
figure{margin:0}figcaption{color:#555;font-size:.9rem}svg{max-width:100%;height:auto}
"""


def returns_plot(episodes: list[dict[str, Any]], swaps: list[float], expert: float) -> str:
    """Target return by episode; greedy and exploring episodes, swaps and the expert's level."""

    def draw(ax: Axes) -> None:
        for explored, marker, label in ((True, "o", "exploring"), (False, "s", "deterministic")):
            chosen = [
                (i + 1, e["total"]) for i, e in enumerate(episodes) if e["explored"] is explored
            ]
            if chosen:
                ax.plot(*zip(*chosen, strict=True), marker, label=label)
        ax.plot(range(1, len(episodes) + 1), [e["total"] for e in episodes], "-", alpha=0.3)
        for index, where in enumerate(swaps):
            ax.axvline(where, color="tab:green", alpha=0.35, label=None if index else "swap")
        ax.axhline(expert, color="k", linestyle="--", label="target expert")
        ax.set(xlabel="target episode", ylabel="return")
        ax.legend(fontsize=8)

    return svg(draw)


def plane_plot(uncertainty: Any, returns: Any, kept: Any) -> str:
    """Generated trajectories in the return-uncertainty plane; arrays (M,)."""

    def draw(ax: Axes) -> None:
        mask = np.asarray(kept).astype(bool)
        for chosen, style, label in ((~mask, "x", "dropped"), (mask, "o", "kept")):
            ax.plot(
                np.asarray(uncertainty)[chosen], np.asarray(returns)[chosen], style, label=label
            )
        ax.set(xlabel="mean uncertainty", ylabel="imagined return")
        ax.legend(fontsize=8)

    return svg(draw)


def uncertainty_plot(uncertainty: Any, error: Any, spearman: float) -> str:
    """Uncertainty against true squared model error on held-out source steps; arrays (N,)."""

    def draw(ax: Axes) -> None:
        floor = 1e-9
        x, y = np.maximum(uncertainty, floor), np.maximum(error, floor)
        ax.loglog(x, y, ".", markersize=3, alpha=0.5)
        ax.set(xlabel="uncertainty", ylabel="squared one-step error")
        ax.set_title(f"Spearman {spearman:.2f}", fontsize=9)

    return svg(draw)


def timing_plot(edges_us: list[float], series: dict[str, list[int]]) -> str:
    """Histograms of tick timing with common bucket edges in µs."""

    def draw(ax: Axes) -> None:
        for label, counts in series.items():
            edges = edges_us[: len(counts)]
            ax.step(edges, counts[: len(edges)], where="post", label=label)
        ax.set(xscale="log", yscale="log", xlabel="µs", ylabel="ticks")
        ax.legend(fontsize=8)

    return svg(draw)


def page(title: str, tables: dict[str, dict[str, Any]], plots: dict[str, str]) -> str:
    """The whole document: tables of numbers, then figures with captions."""
    body = [gallery(plots)]
    for name, numbers in tables.items():
        body.append(f"<h2>{html.escape(name)}</h2><table>")
        body += [_row(key, value) for key, value in numbers.items()]
        body.append("</table>")
    return document(title, body)


def document(title: str, body: Iterable[str]) -> str:
    """A page that needs nothing from outside; ``body`` is trusted markup below the title."""
    heading = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{heading}</title>'
        f"<style>{_STYLE}</style><body><h1>{heading}</h1>{''.join(body)}</body></html>\n"
    )


def gallery(plots: dict[str, str]) -> str:
    """SVG figures by their captions, side by side where there is room."""
    figures = (
        f"<figure>{plot}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, plot in plots.items()
    )
    return f'<div class="plots">{"".join(figures)}</div>'


def svg(draw: Callable[[Axes], None]) -> str:
    """What ``draw`` puts on fresh axes, as one SVG element."""
    figure, ax = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
    try:
        draw(ax)
        ax.grid(alpha=0.25)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    finally:
        plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def cell(value: Any) -> str:
    """A number as people read it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def shown(value: Any) -> str:
    """Like :func:`cell`, with lists, and a dash for what there is not."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return "–" if value is None else cell(value)


def interval(value: float | None, ci95: Sequence[float] | None) -> str:
    """A number and, where there is one, its 95 % interval."""
    if value is None or ci95 is None:
        return shown(value)
    return f"{cell(value)} [{cell(ci95[0])}, {cell(ci95[1])}]"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows of values below the names of their columns."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(shown(value))}</td>' for value in row)}</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _row(key: str, value: Any) -> str:
    return f"<tr><td>{html.escape(key)}</td><td>{html.escape(cell(value))}</td></tr>"
