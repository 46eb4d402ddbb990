"""TensorBoard's event files: the curves of a run, while it goes on or afterwards."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from offboard.run_dir import RunDir, unheard
from offboard.scalars import Row, ScalarReader
from protocol.errors import StoreError

FOLDER = "tensorboard"
"""Of a run's event files, below the run."""


class EventFile:
    """Takes rows of ``metrics.jsonl`` and writes their curves.

    Args:
        writer: TensorBoard's ``SummaryWriter``.
        began_s: wall clock at the start of the run; None stamps a point with the present.
    """

    def __init__(self, writer: Any, began_s: float | None = None) -> None:
        self._writer = writer
        self._began_s = began_s
        self._reader = ScalarReader()

    def add(self, row: Row) -> None:
        """Write the points of ``row``; ``global_step`` is the environment's."""
        for tag, step, value, wall_s in self._reader.read(row):
            self._writer.add_scalar(tag, value, step, walltime=self._at(wall_s))

    def _at(self, wall_s: float | None) -> float:
        if self._began_s is None or wall_s is None:
            return time.time()
        return self._began_s + wall_s


@contextlib.contextmanager
def mirrored(run: RunDir, wanted: bool) -> Iterator[None]:
    """While open, and if ``wanted``, what ``run`` logs goes to TensorBoard too.

    A run that begins to be mirrored in its middle gets what it logged before, first.
    """
    if not wanted:
        yield
        return
    earlier = [] if (run.path / FOLDER).exists() else run.metrics()
    with _opened(run.path / FOLDER) as file:
        for row in earlier:
            file.add(row)
        run.on_event = file.add
        try:
            yield
        finally:
            run.on_event = unheard


def write_events(directory: Path, rows: Iterable[Row], began_s: float) -> None:
    """The curves of a run that is over, ``rows``, as event files in ``directory``.

    Raises:
        StoreError: there are event files already, which would be drawn twice, or the disk refuses.
    """
    if any(directory.glob("events.out.tfevents.*")):
        raise StoreError(f"{directory} holds event files already; remove it or name another")
    with _opened(directory, began_s) as file:
        for row in rows:
            file.add(row)


@contextlib.contextmanager
def _opened(directory: Path, began_s: float | None = None) -> Iterator[EventFile]:
    library = importlib.import_module("torch.utils.tensorboard")  # seconds, for few
    try:
        writer = library.SummaryWriter(str(directory))
    except OSError as error:
        raise StoreError(f"{directory} cannot be made ({error.strerror})") from error
    try:
        yield EventFile(writer, began_s)
    finally:
        writer.close()
