"""Runs that differ in nothing but the seed, side by side, and what sets groups apart. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from offboard.bench.score import Estimate, band, estimate, mean_of_seeds
from offboard.compare.recorded import Array, Recorded

ABSENT = "–"
NAMED = 3
"""How many settings a label names before it is cut short."""


class Topic(NamedTuple):
    """What may be compared: runs of one stage that learned one thing."""

    kind: str
    subject: str


class Band(NamedTuple):
    """A curve over seeds: steps (T,), interquartile mean (T,), its interval (2, T) if several."""

    steps: Array
    mean: Array
    ci95: Array | None


@dataclass(frozen=True)
class Group:
    """Seeds of one configuration; ``label`` says what sets it apart within its topic."""

    label: str
    runs: tuple[Recorded, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """What all its runs share."""
        return dict(self.runs[0].settings)

    @property
    def tags(self) -> set[str]:
        """Curves that all finished or begun runs have."""
        return set.intersection(*(set(run.curves) for run in self.runs))

    def band(self, tag: str) -> Band:
        """The curve ``tag`` where all seeds have been; between its points a seed is a line."""
        curves = [run.curves[tag] for run in self.runs]
        steps = np.unique(np.concatenate([own for own, _ in curves]))
        first, last = max(own[0] for own, _ in curves), min(own[-1] for own, _ in curves)
        steps = steps[(steps >= first) & (steps <= last)]
        values = np.stack([np.interp(steps, own, value) for own, value in curves])  # (S, T)
        if len(curves) == 1 or steps.size == 0:
            return Band(steps, values.mean(0), None)
        mean, low, high = band(values, np.random.default_rng(0))
        return Band(steps, mean, np.stack([low, high]))

    def number(self, name: str) -> Estimate | None:
        """Interquartile mean of a result over the seeds that have it, None if none does."""
        return _over_seeds(
            [run.numbers[name] for run in self.runs if run.numbers and name in run.numbers]
        )

    def last(self, tag: str) -> Estimate | None:
        """The same of the last points of the curve ``tag``."""
        return _over_seeds([run.curves[tag][1][-1] for run in self.runs if tag in run.curves])


def grouped(runs: Iterable[Recorded]) -> dict[Topic, list[Group]]:
    """Topics in order of name, their groups in order of appearance.

    Seeds belong together if their configurations are the same and so is what made them: the folder
    of runs they were found in or, of runs named one by one, the commit.
    """
    topics: dict[Topic, dict[tuple[str, str], list[Recorded]]] = defaultdict(dict)
    for run in runs:
        origin = run.commit if run.below is None else str(run.below)
        key = (repr(sorted(run.settings.items())), origin)
        topics[Topic(run.kind, run.subject)].setdefault(key, []).append(run)
    return {topic: _labelled([*topics[topic].values()]) for topic in sorted(topics)}


def differences(groups: Sequence[Group]) -> dict[str, list[Any]]:
    """Settings that are not the same in all groups, each with its value in every one."""
    return _differences([group.settings for group in groups])


def _over_seeds(values: Sequence[float]) -> Estimate | None:
    if not values:
        return None
    return estimate(mean_of_seeds, [np.array(values)], np.random.default_rng(0))


def _differences(settings: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = sorted({name for own in settings for name in own})
    values = {name: [own.get(name, ABSENT) for own in settings] for name in names}
    return {name: row for name, row in values.items() if any(one != row[0] for one in row)}


def _labelled(groups: Sequence[Sequence[Recorded]]) -> list[Group]:
    different = _differences([dict(runs[0].settings) for runs in groups])
    origins = {runs[0].below or runs[0].commit for runs in groups}
    labels = []
    for index, runs in enumerate(groups):
        said = [f"{name.rpartition('.')[2]} {row[index]}" for name, row in different.items()]
        cut = [*said[:NAMED], "…"] if len(said) > NAMED else said
        where = [str(runs[0].below or runs[0].commit)] if len(origins) > 1 else []
        labels.append(", ".join([*cut, *where]) or runs[0].path.name)
    return [
        Group(label if labels.count(label) == 1 else f"{label} ({index + 1})", _by_seed(runs))
        for index, (label, runs) in enumerate(zip(labels, groups, strict=True))
    ]


def _by_seed(runs: Sequence[Recorded]) -> tuple[Recorded, ...]:
    return tuple(sorted(runs, key=lambda run: run.seed))
