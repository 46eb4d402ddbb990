"""A robot's last seconds as lines: observation by kind, action asked and applied, timing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocol.modes import Mode
from protocol.step_record import Rows

POINTS_MAX = 300
"""A line on a screen shows no more."""
TITLES = {
    "position": ("Joint positions", "Where each joint is."),
    "velocity": ("Joint velocities", "How fast each joint turns."),
    "cos": ("Joint angles, cosine", "1 is straight, −1 is half a turn away."),
    "sin": ("Joint angles, sine", "0 is straight, ±1 a quarter turn away."),
    "goal": ("Goal positions", "Where each servo was told to go."),
}
HISTORY = "applied"
"""Columns of this kind repeat earlier actions, which have a chart of their own."""


@dataclass(frozen=True)
class Line:
    """One series: its values go with the times of its :class:`Panel`; NaN is a hole."""

    name: str
    values: tuple[float, ...]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart: ``lines`` in ``unit`` over ``times_s``, seconds before the newest record."""

    title: str
    hint: str
    unit: str
    times_s: tuple[float, ...]
    lines: tuple[Line, ...]


class Shown(NamedTuple):
    """Where records come from: columns and actions with their units, and rows (N,)."""

    columns: dict[str, str]
    actions: dict[str, str]
    rows: Rows
    control_hz: int


def panels(shown: Shown, joint: str) -> list[Panel]:
    """All charts; of the actions that of ``joint`` alone. None without rows."""
    rows = shown.rows[:: -(-len(shown.rows) // POINTS_MAX)] if len(shown.rows) else shown.rows
    if len(rows) == 0:
        return []
    times_s = tuple(_rounded((rows["sense_ns"] - shown.rows["sense_ns"][-1]) * 1e-9))
    return [
        _action(shown, rows, times_s, joint),
        *_observations(shown, rows, times_s),
        _timing(shown, rows, times_s),
    ]


def doing(rows: Rows) -> str:
    """What the newest record says, in words."""
    newest = rows[-1]
    mode, version = Mode(newest["mode"]).name, int(newest["policy_version"])
    return f"{mode}, policy {version}, episode {int(newest['episode'])}, step {int(newest['step'])}"


def _action(shown: Shown, rows: Rows, times_s: tuple[float, ...], joint: str) -> Panel:
    column = [*shown.actions].index(joint) if joint in shown.actions else 0
    return Panel(
        f"Action of {[*shown.actions][column]}",
        "What the policy asked for and what the motor got. Where they differ, the safety layer "
        "or the drive's limits stepped in. 1 is full effort.",
        "share of full effort",
        times_s,
        (
            Line("applied", _rounded(rows["applied"][:, column])),
            Line("requested", _rounded(rows["requested"][:, column]), dashed=True),
        ),
    )


def _observations(shown: Shown, rows: Rows, times_s: tuple[float, ...]) -> list[Panel]:
    kinds: dict[tuple[str, str], list[Line]] = {}
    for number, (label, text) in enumerate(shown.columns.items()):
        kind, _, name = label.partition(":")
        unit, scale = _unit_and_scale(text)
        if kind != HISTORY:
            values = _rounded(rows["obs"][:, number] / scale)
            kinds.setdefault((kind, unit), []).append(Line(name, values))
    return [
        Panel(*TITLES.get(kind, (kind, "")), unit, times_s, tuple(lines))
        for (kind, unit), lines in kinds.items()
    ]


def _timing(shown: Shown, rows: Rows, times_s: tuple[float, ...]) -> Panel:
    return Panel(
        "Timing of the control loop",
        f"It turns {shown.control_hz} times a second. Late: how long after its time a turn began. "
        "Work: processor time of a turn.",
        "ms",
        times_s,
        (
            Line("late", _rounded(rows["period_error_us"] * 1e-3)),
            Line("work", _rounded(rows["work_us"] * 1e-3)),
        ),
    )


def _unit_and_scale(text: str) -> tuple[str, float]:
    """``rad/s, times 0.1`` as the archive writes it."""
    unit, _, factor = text.partition(", times ")
    unit = "" if unit == "1" else unit
    try:
        return unit, float(factor) or 1.0
    except ValueError:
        return unit, 1.0


def _rounded(values: NDArray[Any]) -> tuple[float, ...]:
    """Four digits are more than a screen shows, and a third of the bytes."""
    return tuple(float(f"{value:.4g}") for value in _floats(values))


def _floats(values: NDArray[Any]) -> Iterable[float]:
    listed: list[float] = np.asarray(values, np.float64).tolist()
    return listed
