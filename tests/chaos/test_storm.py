"""The storm in small: real processes killed and a bad link, and the server has every record.

``make chaos`` is the long one; it mounts disks to fill and goes on for hundreds of kills.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_records import GENERATION
from storm.disk import obstacle_to_mounting
from storm.judge import Stored, declared, judge
from storm.source import rows

from protocol.messages import Gap

ROOT = Path(__file__).parents[2]
KILLS = 6
EPOCH, NEXT = "a" * 32, "b" * 32


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_short_storm_loses_nothing_without_a_gap(tmp_path: Path) -> None:
    """The document's promise is the exit status; its fields are the output contract."""
    done = subprocess.run(
        [sys.executable, "-m", "storm", "--out", str(tmp_path), "--kills", str(KILLS),
         "--course", "harsh"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "support")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert found["kills"] >= KILLS
    assert found["committed"] + found["lost"] == found["produced"] > 0
    assert not any(found[name] for name in ("undeclared", "duplicated", "reordered", "corrupted"))
    assert found["left_out"] == obstacle_to_mounting(), "no fault may be left out unasked"
    kinds = {"robot's agent", "server", "source of records"}
    assert {f"{kind} killed" for kind in kinds} <= found["faults"].keys()
    if found["left_out"]:
        pytest.skip(f"held, but no disk was filled: {found['left_out']}")
    assert {"robot's disk full", "server's disk full"} <= found["faults"].keys()


def gap(seq: int, first: int = 0, count: int = 0, epoch: str = EPOCH) -> Gap:
    first = GENERATION + first if count else 0
    return Gap(epoch=epoch, seq=seq, first_record=first, count=count, reason="")


def stored(number: int, seq: int, first: int, epoch: str = EPOCH) -> Stored:
    return Stored(number, epoch, seq, GENERATION + first, 10)


def test_the_judge_finds_nothing_wrong_where_nothing_is() -> None:
    verdict = judge(30, rows, [rows(0, 30)], [stored(1, 1, 0)], [])
    assert verdict.holds
    assert verdict.committed == 30


@pytest.mark.parametrize("fault", ["lost", "doubled", "swapped", "changed", "invented"])
def test_the_judge_notices(fault: str) -> None:
    """A judge that cannot convict proves nothing."""
    read = rows(0, 30)
    if fault == "lost":
        read = np.delete(read, 7)
    elif fault == "doubled":
        read = np.concatenate([read[:8], read[7:]])
    elif fault == "swapped":
        read[[3, 4]] = read[[4, 3]]
    elif fault == "changed":
        read["applied"][5] += 1e-7
    else:
        read["seq"][29] += 100
    assert not judge(30, rows, [read], [stored(1, 1, 0)], []).holds


def test_a_gap_excuses_what_it_names_and_no_more() -> None:
    read = np.delete(rows(0, 30), slice(10, 20))
    assert judge(30, rows, [read], [], [gap(2, 10, 10)]).holds
    assert judge(30, rows, [read], [], [gap(2, 10, 9)]).undeclared == 1


def test_what_was_lost_is_counted_by_reason_once() -> None:
    read = np.delete(rows(0, 30), slice(10, 20))
    full, old = (
        msgspec.structs.replace(gap(2, 10, count), reason=reason)
        for count, reason in ((4, "disk 7 full"), (10, "batch 3 is old"))
    )
    found = judge(30, rows, [read], [], [full, old]).lost_to
    assert found == {"disk # full": 4, "batch # is old": 6}


def test_a_gap_of_unknown_extent_speaks_of_what_lies_between_its_neighbours() -> None:
    batches = [stored(1, 1, 0), stored(2, 3, 20), stored(3, 5, 40)]
    assert declared(batches, [gap(2)]) == [(10.0, 20.0)]
    assert declared(batches, [gap(6)]) == [(50.0, np.inf)]


def test_one_that_ends_an_epoch_speaks_of_nothing_made_after_what_the_next_one_brought() -> None:
    """That was spooled after the gap, so that all the gap may mean is older."""
    read = np.concatenate([rows(0, 10), rows(20, 10), rows(40, 10)])
    batches = [stored(1, 1, 0), stored(2, 1, 20, NEXT), stored(3, 2, 40, NEXT)]
    assert declared(batches, [gap(2)]) == [(10.0, 20.0)]
    assert judge(50, rows, [read], batches, [gap(2)]).undeclared == 10


def test_what_an_older_epoch_sends_again_does_not_narrow_a_gap() -> None:
    """It came before the gap and says nothing of where that ends."""
    again = [stored(1, 1, 0), stored(2, 2, 10), stored(3, 1, 0, NEXT), stored(4, 2, 40, NEXT)]
    assert declared(again, [gap(3)]) == [(20.0, 40.0)]


def test_an_earlier_epoch_does_not_narrow_a_gap() -> None:
    batches = [stored(1, 1, 30, NEXT), stored(2, 1, 0)]
    assert declared(batches, [gap(2)]) == [(10.0, np.inf)]


def test_one_that_begins_an_epoch_speaks_of_what_came_after_the_last_one() -> None:
    batches = [stored(1, 1, 0), stored(2, 2, 30, NEXT)]
    assert declared(batches, [gap(1, epoch=NEXT)]) == [(10.0, 30.0)]
