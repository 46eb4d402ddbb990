"""``wombet-offboard sweep``: source runs over settings and seeds; ``report`` compares them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from offboard.bench.grid import Job, run_jobs
from offboard.progress import bar
from offboard.stages.source import SourceConfig, run_source
from offboard.task_setup import load_task
from offboard.workers import workers
from protocol.errors import ConfigError

C = TypeVar("C")
Setting = tuple[str, str]
"""A dotted name of a field, and its value as text."""


@dataclass(frozen=True)
class SweepConfig:
    """What is the same in all runs, what is not, and where they run.

    Every combination of settings is run for every seed from 0 on.

    Attributes:
        over: one entry for each setting, ``NAME=VALUE,VALUE,…`` with a dotted name like ``sac.lr``.
        seeds: how many.
        processes: runs side by side.
        ray: cluster to run on: auto, or its address; by default --processes here.
    """

    source: SourceConfig
    over: tuple[str, ...] = ()
    seeds: int = 5
    processes: int = 2
    ray: str | None = None


def run_sweep(config: SweepConfig, out: Path) -> list[str]:
    """Run what is missing, ``OUT/SETTINGS/SEED``; returns what failed.

    Raises:
        ConfigError: a setting does not exist or has no such value; nothing was run.
    """
    load_task(config.source.robot, config.source.task)
    jobs, failed = list(_jobs(config)), []
    with bar("runs", len(jobs)) as progress, workers(config.processes, config.ray) as pool:
        for count, done in enumerate(run_jobs(jobs, out, pool), start=1):
            failed += [] if done.error is None else [f"{done.what}: {done.error}"]
            progress(count, done.what)
    return failed


def run_point(config: SourceConfig, folder: str, out: Path) -> None:
    """One run of the sweep, in ``out``/``folder``."""
    run_source(config, out / folder)


def points(over: Sequence[str]) -> list[tuple[Setting, ...]]:
    """Every combination of the values in ``over``; one without settings if there are none.

    Raises:
        ConfigError: an entry is no ``NAME=VALUE,…``.
    """
    axes = []
    for entry in over:
        name, equals, values = entry.partition("=")
        if not (name and equals and values):
            raise ConfigError(f"--over {entry!r}: write NAME=VALUE,VALUE,… as in sac.lr=3e-4,1e-3")
        axes.append([(name, value) for value in values.split(",")])
    return list(itertools.product(*axes))


def changed(config: C, name: str, text: str) -> C:
    """``config`` with the field at the dotted ``name`` set to ``text``, read as its type.

    Raises:
        ConfigError: there is no such field, or the text is no such value.
    """
    field, _, rest = name.replace("-", "_").partition(".")
    known = {one.name for one in dataclasses.fields(config)}  # type: ignore[arg-type]
    if field not in known:
        raise ConfigError(f"--over: no setting {field!r}; there are {sorted(known)}")
    present = getattr(config, field)
    if rest:
        if not is_dataclass(present):
            raise ConfigError(f"--over: {field!r} has no parts like {rest!r}")
        return _with(config, field, changed(present, rest, text))
    if is_dataclass(present):
        raise ConfigError(f"--over: {field!r} is a group; name one of its settings")
    try:
        value = msgspec.convert(text, get_type_hints(type(config))[field], strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"--over {name}={text}: {error}") from error
    return _with(config, field, value)


def _jobs(config: SweepConfig) -> Iterator[Job]:
    """Seed by seed, so that an interrupted sweep has some of everything."""
    for seed in range(config.seeds):
        for point in points(config.over):
            source = replace(config.source, seed=seed, robot=config.source.robot.resolve())
            for name, text in point:
                source = changed(source, name, text)
            folder = f"{','.join(f'{name}={text}' for name, text in point) or 'plain'}/{seed}"
            yield Job(folder, run_point, (source, folder))


def _with(config: C, field: str, value: Any) -> C:
    return replace(config, **{field: value})  # type: ignore[type-var]
