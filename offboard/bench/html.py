"""``report.html``, which stands alone, and ``report.png``, the same on one sheet for the docs."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from offboard.bench.figures import GAPS, draw_benefit, draw_curves, draw_sweep, draw_versus
from offboard.bench.outcome import Grid, gather, read_outcomes
from offboard.bench.transfer import write_transfer
from offboard.durable_file import write_durably
from offboard.report import cell, document, gallery, interval, shown, svg, table

Json = dict[str, Any]
Drawing = Callable[[Axes], None]

TITLE = "Transfer benchmark"
COLUMNS = 3

_VERDICT = {True: "met", False: "missed", None: "not decided"}


def write_report(out: Path) -> Json:
    """Score the finished cells below ``out``: transfer.json, report.html and report.png there.

    Returns:
        The content of transfer.json.

    Raises:
        StoreError: there is no finished cell, one is damaged, or the disk refuses.
    """
    scores = write_transfer(out)
    grid = gather(read_outcomes(out))
    write_durably(out / "report.html", page(scores, grid).encode())
    write_durably(out / "report.png", overview(scores, grid))
    return scores


def page(scores: Json, grid: Grid) -> str:
    """The report of ``scores`` (transfer.json) and the curves behind them."""
    return document(
        TITLE,
        [
            _provenance(scores),
            "<h2>Bars</h2>",
            _bars(scores["bars"]),
            gallery({caption: svg(draw) for caption, draw in drawings(scores, grid).items()}),
            *_pairs(scores),
            "<h2>Against fine-tuning and SAC</h2>",
            _against(scores),
            _listing("Probability of improvement over each method", scores["improvement"]),
            _listing("Uncertainty", scores["uncertainty"]),
            _listing("Mismatch and benefit of old data", _gate(scores["gate"])),
            _listing("Speed", scores["speed"] or {}),
            _notes(scores["notes"]),
        ],
    )


def overview(scores: Json, grid: Grid) -> bytes:
    """Every figure of the page on one sheet, as PNG."""
    chosen = drawings(scores, grid)
    rows = math.ceil(len(chosen) / COLUMNS)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(5.4 * COLUMNS, 3.6 * rows), layout="constrained", squeeze=False
    )
    try:
        for ax, draw in zip(axes.flat, chosen.values(), strict=False):
            draw(ax)
            ax.grid(alpha=0.25)
        for ax in axes.flat[len(chosen) :]:
            ax.set_axis_off()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    finally:
        plt.close(figure)
    return buffer.getvalue()


def drawings(scores: Json, grid: Grid) -> dict[str, Drawing]:
    """Captions of the figures there is data for, and what draws them."""
    pairs = sorted({pair for pair, _ in grid})
    chosen: dict[str, Drawing] = {
        f"{pair}: interquartile mean over seeds, 95 % bootstrap interval; "
        "dotted the threshold, dashed the expert": partial(draw_curves, pair=pair, grid=grid)
        for pair in pairs
    }
    if len(GAPS.keys() & set(pairs)) > 1:
        chosen["Return against gap: zero-shot, and at the end of the budget"] = partial(
            draw_sweep, grid=grid
        )
    if scores["versus_ft"]:
        chosen["Ours against fine-tuning"] = partial(draw_versus, versus_ft=scores["versus_ft"])
    for key in scores["gate"]["spearman"]:
        chosen[f"Benefit of old data against measured {key}"] = partial(
            draw_benefit, rows=scores["gate"]["rows"], key=key
        )
    return chosen


def _provenance(scores: Json) -> str:
    machine = scores["machine"]
    words = f"{machine['cpu']}, {machine['cores']} cores, PyTorch {machine['torch']}"
    return f"<p>{html.escape(words)}; commit {html.escape(scores['commit'])}.</p>"


def _bars(bars: Json) -> str:
    rows = [
        (name, bar["wanted"], shown(_figure(bar)), _VERDICT[bar["met"]])
        for name, bar in bars.items()
    ]
    return table(("bar", "wanted", "figure", "verdict"), rows)


def _figure(bar: Json) -> Any:
    """Ratios that are only known to be at most so large are told beside the others."""
    at_most = bar.get("at_most") or {}
    bounds = {f"{pair}, at most": ratio for pair, ratio in at_most.items()}
    return bar["figure"] | bounds if bounds else bar["figure"]


def _pairs(scores: Json) -> Iterable[str]:
    """A table of cells for each pair."""
    columns = (
        *("method", "seeds", "target steps", "zero-shot", "final return", "area under the curve"),
        *("steps to threshold", "reached", "wall s", "source steps"),
    )
    for pair in sorted({one["pair"] for one in scores["cells"]}):
        cells = [one for one in scores["cells"] if one["pair"] == pair]
        yield f"<h2>{html.escape(pair)}</h2>"
        yield f"<p>Threshold {shown(cells[0]['threshold'])}, "
        yield f"expert {cell(cells[0]['expert_return'])}; "
        yield "the threshold lies 80 % of the way from random actions to the expert.</p>"
        yield table(columns, [_cell_row(one) for one in cells])


def _cell_row(one: Json) -> tuple[Any, ...]:
    return (
        one["method"],
        one["seeds"],
        one["budget_steps"],
        one["zero_shot"],
        interval(one["return_iqm"], one["return_ci95"]),
        interval(one["auc_iqm"], one["auc_ci95"]),
        one["steps_to_threshold_iqm"],
        f"{one['reached']} of {one['seeds']}",
        one["wall_s"],
        one["source_steps"],
    )


def _against(scores: Json) -> str:
    rows = []
    for pair, ratio in scores["ratios"].items():
        versus = scores["versus_ft"].get(pair)
        areas = ("–",) * 3 if versus is None else (
            interval(versus["auc_ratio"], versus["ci95"]),
            interval(versus["difference"], versus["difference_ci95"]),
            interval(versus["improvement"], versus["improvement_ci95"]),
        )  # fmt: skip
        rows.append((pair, ratio, *areas))
    columns = ("pair", "steps, ours / SAC", "area, ours / ft", "area, ours - ft", "P(ours > ft)")
    return table(columns, rows)


def _gate(gate: Json) -> Json:
    return {key: value for key, value in gate.items() if key != "rows"}


def _listing(title: str, content: Json) -> str:
    """Names and what is under them, or nothing if there is nothing."""
    if not content:
        return ""
    rows = [(name, shown(value)) for name, value in content.items()]
    return f"<h2>{html.escape(title)}</h2>{table(('', ''), rows)}"


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f"<h2>Notes</h2><ul>{items}</ul>" if notes else ""
