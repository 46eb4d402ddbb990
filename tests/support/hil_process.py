"""``wombet-sim hil`` in a process of its own; if the machine was too slow, once more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """Exit status and ``summary.json`` of the run that counts, and where it left everything."""

    status: int
    summary: dict[str, Any]
    out: Path


def run_hil(
    robot: str,
    out: Path,
    *options: str | Path,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Scenarios on ``hw_configs/ROBOT.toml``, once more if the first run proves nothing.

    ``before`` comes before the command; ``environment`` is added to this process's own. A second
    run that was too slow, or one in which a scenario fails, fails the test, with the reasons.
    """
    argv = [*before, sys.executable, "-m", "sim_harness.main", "hil"]
    argv += ["--robot", str(ROOT / "hw_configs" / f"{robot}.toml"), "--out", str(out)]
    argv += map(str, options)
    given = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    for _ in range(2):
        done = subprocess.run(
            argv, cwd=ROOT, env=given, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        if summary["valid"] or summary["failed"]:
            break
    reasons = {each["name"]: each["reasons"] for each in summary["scenarios"]}
    assert summary["failed"] == 0, reasons
    assert summary["valid"], f"twice too slow for real time: {reasons}"
    return Ran(done.returncode, summary, out)
