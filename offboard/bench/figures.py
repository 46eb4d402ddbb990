"""What the benchmark's report draws; each function fills given axes."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from offboard.bench.outcome import Curves, Grid
from offboard.bench.score import band, interquartile_mean
from offboard.bench.switching import FINE_TUNED, OURS, SCRATCH

Json = dict[str, Any]

GAPS = {
    "furuta_gap_0": 0.0,
    "furuta_gap_0.5": 0.5,
    "furuta": 1.0,
    "furuta_gap_2": 2.0,
    "furuta_gap_4": 4.0,
}
SWEPT = (OURS, FINE_TUNED, SCRATCH)

_COLOURS = [mpl.colormaps["tab20"](place) for place in range(20)]
_OTHERS = (0, 2, 4, 8, 10, 12, 16, 18, 1, 3, 5, 9, 11, 13, 17, 19)


def colours(methods: list[str]) -> dict[str, Any]:
    """One colour for each method, the same in every figure; ours is red."""
    others = sorted(set(methods) - {OURS})
    chosen = {name: _COLOURS[_OTHERS[i % len(_OTHERS)]] for i, name in enumerate(others)}
    return {OURS: _COLOURS[6], **chosen}


def draw_curves(ax: Axes, pair: str, grid: Grid) -> None:
    """Learning curves of every method on ``pair``: interquartile mean and 95 % interval."""
    palette = colours([method for _, method in grid])
    found = {method: curves for (name, method), curves in grid.items() if name == pair}
    for method, curves in found.items():
        width = 2.2 if method == OURS else 1.2
        _draw_band(ax, curves, color=palette[method], label=method, linewidth=width)
    _draw_levels(ax, next(iter(found.values())))
    ax.set(xlabel="target steps", ylabel="return", title=pair)
    ax.legend(fontsize=7)


def draw_sweep(ax: Axes, grid: Grid) -> None:
    """Zero-shot return, and that at the end of the budget, against the scale of the change."""
    palette = colours([method for _, method in grid])
    for method in SWEPT:
        points = [
            (gap, *_final(grid[pair, method]))
            for pair, gap in GAPS.items()
            if (pair, method) in grid
        ]
        if points:
            gap, value, low, high = np.array(points).T
            ax.errorbar(
                gap, value, [value - low, high - value], fmt="o-", capsize=3,
                color=palette[method], label=method,
            )  # fmt: skip
    zero_shot = [
        (gap, float(interquartile_mean(grid[pair, OURS].returns[:, 0])))
        for pair, gap in GAPS.items()
        if (pair, OURS) in grid
    ]
    if zero_shot:
        ax.plot(*zip(*zero_shot, strict=True), "k:", marker=".", label="zero-shot")
    ax.set(xlabel="gap, as a multiple of the target's change", ylabel="return")
    _legend(ax)


def draw_versus(ax: Axes, versus_ft: Json) -> None:
    """Difference of scaled areas, ours less fine-tuning, with its interval, pair by pair."""
    for place, versus in enumerate(versus_ft.values()):
        low, high = versus["difference_ci95"] or (versus["difference"],) * 2
        ax.plot([low, high], [place, place], "-", color=_COLOURS[6])
        ax.plot(versus["difference"], place, "o", color=_COLOURS[6])
    ax.axvline(0.0, color="k", linewidth=0.8)
    ax.set_yticks(range(len(versus_ft)), list(versus_ft), fontsize=8)
    ax.set(xlabel="area under the curve, ours - ft (1 = expert - random)")


def draw_benefit(ax: Axes, rows: list[Json], key: str) -> None:
    """Benefit of old data against mismatch ``key``, one colour for each pair."""
    pairs = sorted({row["pair"] for row in rows})
    for index, pair in enumerate(pairs):
        points = [
            (row["mismatch"][key], row["benefit"])
            for row in rows
            if row["pair"] == pair and key in row["mismatch"]
        ]
        if points:
            ax.plot(*np.array(points).T, "o", color=_COLOURS[index % 20], label=pair)
    ax.axhline(0.0, color="k", linewidth=0.8)
    ax.set(xlabel=key, ylabel="benefit of old data")
    _legend(ax)


def _draw_band(ax: Axes, curves: Curves, **style: Any) -> None:
    mean, low, high = _band(curves)
    ax.plot(curves.steps, mean, **style)
    ax.fill_between(curves.steps, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _draw_levels(ax: Axes, curves: Curves) -> None:
    """The threshold and the expert, mean over the seeds of one method."""
    expert = float(np.mean([result.expert_return for result in curves.results]))
    for level, line in ((curves.threshold, ":"), (expert, "--")):
        if level is not None:
            ax.axhline(level, color="k", linestyle=line, linewidth=0.8)


def _final(curves: Curves) -> tuple[float, float, float]:
    mean, low, high = _band(curves)
    return float(mean[-1]), float(low[-1]), float(high[-1])


def _band(curves: Curves) -> tuple[Any, Any, Any]:
    return band(curves.returns, np.random.default_rng(0))


def _legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7)
