"""What a run logged, as curves: tagged numbers over environment steps. Pure.

Tags are grouped as readers of TensorBoard expect: ``eval/`` of policies that do not explore,
``train/`` of the learner, ``time/``. The step of every one is the environment's, never the
optimiser's, so that runs with different budgets of updates lie side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]
"""One line of ``metrics.jsonl``."""

TAGS = {
    "episode_return": "eval/episode_return",
    "imagined_return": "eval/imagined_return",
    "critic_loss": "train/critic_loss",
    "actor_loss": "train/actor_loss",
    "alpha": "train/alpha",
    "q": "train/q",
    "nmse": "train/model_nmse",
    "nmse_train": "train/model_nmse_fit",
    "offline_fraction": "train/offline_fraction",
    "relabelled": "train/relabelled",
    "updates": "train/updates",
    "exploration": "train/exploration",
    "version": "train/policy_version",
    "wall_s": "time/wall_s",
}
"""Names in a row and what they are called in a plot; what is not here is no curve."""

_STEPS = ("step", "online", "online_steps")


class Scalar(NamedTuple):
    """One point of a curve; ``wall_s`` is since the run began, None where it was not logged."""

    tag: str
    step: int
    value: float
    wall_s: float | None = None


class ScalarReader:
    """Reads rows in the order they were logged: one without a step belongs to the last one."""

    def __init__(self) -> None:
        self._step = 0
        self._wall_s: float | None = None

    def read(self, row: Row) -> list[Scalar]:
        """The finite numbers of ``row``, and the speed since the row before."""
        step = next((int(row[name]) for name in _STEPS if name in row), self._step)
        wall_s = _number(row.get("wall_s"))
        found = {TAGS[name]: _number(value) for name, value in row.items() if name in TAGS}
        if "total" in row:
            found[_episode_tag(row)] = _number(row["total"])
        found["time/steps_per_s"] = self._speed(step, wall_s)
        self._step, self._wall_s = step, wall_s
        return [
            Scalar(tag, step, value, wall_s) for tag, value in found.items() if value is not None
        ]

    def _speed(self, step: int, wall_s: float | None) -> float | None:
        if wall_s is None or self._wall_s is None or wall_s <= self._wall_s:
            return None
        return (step - self._step) / (wall_s - self._wall_s)


def scalars(rows: Iterable[Row]) -> Iterator[Scalar]:
    """Every point of every curve in ``rows``."""
    reader = ScalarReader()
    for row in rows:
        yield from reader.read(row)


def _episode_tag(row: Row) -> str:
    """A robot's episode counts as an evaluation only if its policy did not explore."""
    return "train/episode_return" if row.get("explored") else "eval/episode_return"


def _number(value: Any) -> float | None:
    """``value`` if it is a finite number; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
