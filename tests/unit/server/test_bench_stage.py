"""What is said where the benchmark has nothing to score."""

from __future__ import annotations

from pathlib import Path

import pytest

from offboard.bench.grid import Done
from offboard.stages import bench
from offboard.stages.bench import BenchConfig, run_bench
from protocol.errors import StoreError


def test_where_no_cell_finished_it_says_why_none_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Done("furuta ours 0", is_cell=True, error="the expert is another pair's")
    monkeypatch.setattr(bench, "_finished", lambda *_: iter([failed]))
    with pytest.raises(StoreError, match="no finished cell") as told:
        run_bench(BenchConfig(speed_s=0.0), tmp_path / "out")
    assert "furuta ours 0: the expert is another pair's" in str(told.value)
