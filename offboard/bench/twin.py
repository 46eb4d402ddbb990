"""A cell whose run was made already under another name.

Where the switch takes a course of its own accord, ours is, update for update, the learner that was
told that course beforehand. Such a cell is copied, and says so, instead of being run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from offboard.bench.switching import FORCED, OURS
from offboard.run_dir import RunDir
from offboard.switch import Course


def twin_of(method: str, directory: Path) -> RunDir | None:
    """The finished run of ours that is also that of ``method`` in ``directory``, or None.

    Args:
        method: of the cell in question.
        directory: of that cell, ``PAIR/METHOD/SEED``.
    """
    if method != FORCED:
        return None
    ours = RunDir(directory.parents[1] / OURS / directory.name)
    taken = (ours.result or {}).get("switch")
    return ours if taken == Course.RELABEL.value else None


def copied(twin: RunDir, method: str, run: RunDir) -> dict[str, Any]:
    """Finish ``run`` with the curve and result of ``twin`` under ``method``'s name.

    Raises:
        StoreError: it cannot be written.
    """
    for row in twin.metrics():
        run.log(**{**row, "method": method})
    return run.finish({**(twin.result or {}), "method": method, "same_run_as": OURS})
