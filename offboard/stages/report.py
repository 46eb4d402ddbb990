"""``wombet-offboard report RUN…``: runs beside each other, as one page and as event files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offboard.compare.groups import grouped
from offboard.compare.page import page
from offboard.compare.recorded import Recorded, read_runs
from offboard.durable_file import write_durably
from offboard.event_files import write_events
from protocol.errors import ConfigError, StoreError


def run_report(paths: Sequence[Path], out: Path, tensorboard: Path | None = None) -> int:
    """Write the page ``out`` and, below ``tensorboard``, event files; returns how many runs.

    Raises:
        ConfigError: no path was given.
        StoreError: a path is no run, a run is damaged, or the disk refuses.
    """
    if not paths:
        raise ConfigError("name at least one run, the --out of a stage")
    runs = [run for path in dict.fromkeys(paths) for run in read_runs(path)]
    _make(out.parent)
    write_durably(out, page(grouped(runs)).encode())
    if tensorboard is not None:
        for run in runs:
            _convert(run, tensorboard)
    return len(runs)


def _convert(run: Recorded, tensorboard: Path) -> None:
    """Event files under the run's own path, so that TensorBoard's filter finds it by its parts."""
    if run.rows:
        parts = [part for part in run.path.parts if part not in ("/", "..")]
        began_s = (run.path / "config.json").stat().st_mtime
        write_events(tensorboard.joinpath(*parts), run.rows, began_s)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made ({error.strerror}); choose another") from error
