"""Does the design's table of swap steps say what the code has?"""

from __future__ import annotations

import re
from pathlib import Path

from onboard.swap_steps import Step

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"
ROWS = re.findall(r"^\| `([A-Z]+)` \|.*\| ([a-z]+) \|$", DESIGN.read_text("utf-8"), re.MULTILINE)


def test_the_table_has_every_step_in_its_order() -> None:
    assert [step for step, _ in ROWS] == [step.name for step in Step]


def test_a_kill_leaves_the_new_policy_only_once_the_ledger_names_it() -> None:
    """As tests/chaos/test_swap_faults.py finds it."""
    drives = dict(ROWS)
    assert drives.pop(Step.KEPT.name) == "new"
    assert set(drives.values()) == {"committed"}
