"""What a run recorded, whichever stage made it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offboard.run_dir import RunDir
from offboard.scalars import Row, scalars
from protocol.errors import StoreError

Array = NDArray[np.float64]
Curve = tuple[Array, Array]
"""Environment steps (T,), ascending, and values (T,)."""

_KINDS = (
    ("serve", {"unit", "finetune"}),
    ("cell", {"pair", "method"}),
    ("expert", {"body", "online", "source"}),
    ("source", {"online", "model_steps"}),
    ("source from data", {"data", "model_steps"}),
    ("generate", {"generate", "filter"}),
)
"""What a stage's configuration always has, and no other's before it."""

_NOT_SETTINGS = frozenset(
    {
        *("seed", "source", "generated", "keys", "endpoint", "cpus", "nice", "page_port"),
        *("processes", "ray", "distributed", "tensorboard"),
    }
)
"""What may differ between runs of one configuration: the seed, places, and how it was run."""


@dataclass(frozen=True)
class Recorded:
    """One run.

    Attributes:
        path: where it lies.
        kind: the stage that made it.
        subject: what it learned: a task, or a pair of the benchmark.
        seed: of it; -1 if it has none.
        commit: that made it.
        below: the folder of runs it was found in, None if it was named itself.
        settings: its configuration by dotted names, without the seed and without places.
        numbers: of its result, by dotted names; None if it is not finished.
        rows: what it logged.
    """

    path: Path
    kind: str
    subject: str
    seed: int
    commit: str
    below: Path | None
    settings: Mapping[str, Any]
    numbers: Mapping[str, float] | None
    rows: tuple[Row, ...]

    @property
    def curves(self) -> dict[str, Curve]:
        """Everything it logged as curves, by tag; of several values at one step the last."""
        points: dict[str, dict[int, float]] = {}
        for tag, step, value, _ in scalars(self.rows):
            points.setdefault(tag, {})[step] = value
        return {tag: _curve(found) for tag, found in points.items()}


def read_runs(path: Path) -> list[Recorded]:
    """The run at ``path``, or all runs in a folder of them: a demo, a benchmark, a sweep.

    Raises:
        StoreError: there is no run, or one is damaged.
    """
    if (path / "config.json").exists():
        return [_read(path, None)]
    found = [_read(run, path) for run in _below(path)]
    if (summary := RunDir(path).summary) is not None:
        found.append(_demo(path, summary))
    if not found:
        raise StoreError(
            f"{path} is no run: there is no config.json in it or below; "
            "give the --out of source, generate, expert, serve, demo, bench or sweep"
        )
    return found


def _below(path: Path) -> Iterator[Path]:
    """Folders of runs; of a benchmark only its finished cells."""
    if (path / "cells").is_dir():
        yield from (file.parent for file in sorted(path.glob("cells/*/*/*/result.json")))
        return
    for depth in ("*", "*/*"):
        yield from (file.parent for file in sorted(path.glob(f"{depth}/config.json")))


def _read(path: Path, below: Path | None) -> Recorded:
    run = RunDir(path)
    config, result = run.config, run.result
    try:
        rows = tuple(run.metrics())
    except json.JSONDecodeError as error:
        raise StoreError(f"{path / 'metrics.jsonl'} is damaged ({error})") from error
    pair = config.get("pair")
    return Recorded(
        path=path,
        kind=next((kind for kind, keys in _KINDS if keys <= config.keys()), "run"),
        subject=str(pair["name"] if isinstance(pair, dict) else config.get("task", "")),
        seed=int(config.get("seed", -1)),
        commit=run.made_by,
        below=below,
        settings={
            name: value
            for name, value in _flat(config)
            if name.partition(".")[0] not in _NOT_SETTINGS
        },
        numbers=None if result is None else _numbers(result),
        rows=rows,
    )


def _demo(path: Path, summary: Mapping[str, Any]) -> Recorded:
    """What the whole loop came to, beside the stages it went through."""
    return Recorded(path, "demo", "", -1, "", path, {}, _numbers(summary), ())


def _curve(points: Mapping[int, float]) -> Curve:
    steps = sorted(points)
    return np.array(steps, dtype=np.float64), np.array([points[step] for step in steps])


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in _flat(result)
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "seed"
    }


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested objects by dotted names; a list is a leaf."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
