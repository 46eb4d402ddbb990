"""Does the evidence for the switch follow from areas and mismatch, cell by cell?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_cells import write_cell

from offboard.bench.outcome import Grid, gather, read_outcomes
from offboard.bench.switching import decisions, switching


def write_seed(
    out: Path, pair: str, seed: int, areas: dict[str, float], nmse: float, taken: str | None
) -> None:
    """Flat curves at ``areas``; what the gated method measured and did."""
    for method, level in areas.items():
        write_cell(out, pair, method, seed, [level] * 5)
    mismatch = {"source_nmse": nmse, "adapted_nmse": None, "support": 0.5}
    write_cell(out, pair, "ours", seed, [50.0] * 5, mismatch=mismatch, switch=taken)


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """Old data helps by 30, 20, 10, -10 as mismatch grows; the switch is right but once."""
    for index, (gain, taken) in enumerate(
        [(30.0, "relabel"), (20.0, "relabel"), (10.0, "ft"), (-10.0, "ft")]
    ):
        areas = {"ours_always": 50.0 + gain, "ft": 50.0, "scratch": 20.0}
        write_seed(tmp_path, f"pair_{index}", 0, areas, nmse=0.1 * index, taken=taken)
    return gather(read_outcomes(tmp_path))


def evidence(grid: Grid) -> dict:
    return switching(decisions(grid), np.random.default_rng(0))


def test_benefit_is_old_data_forced_in_less_fine_tuning(grid: Grid) -> None:
    assert [cell.benefit for cell in decisions(grid)] == pytest.approx([0.3, 0.2, 0.1, -0.1])


def test_mismatch_that_orders_the_benefit_is_seen(grid: Grid) -> None:
    spearman = evidence(grid)["spearman"]
    assert spearman.keys() == {"source_nmse", "support"}
    assert spearman["source_nmse"]["value"] == pytest.approx(-1.0)
    assert spearman["source_nmse"]["ci95"] == pytest.approx([-1.0, -1.0])
    assert spearman["source_nmse"]["cells"] == 4


def test_a_constant_mismatch_foretells_nothing(grid: Grid) -> None:
    assert np.isnan(evidence(grid)["spearman"]["support"]["value"])
    assert evidence(grid)["spearman"]["support"]["ci95"] is None


def test_agreement_and_regret(grid: Grid) -> None:
    found = evidence(grid)
    assert (found["cells"], found["decided"]) == (4, 4)
    assert found["agreement"] == 0.75
    assert found["regret_mean"] == pytest.approx(0.1 / 4)


def test_scratch_may_be_the_better_choice(tmp_path: Path) -> None:
    areas = {"ours_always": 10.0, "ft": 20.0, "scratch": 30.0}
    write_seed(tmp_path, "p", 0, areas, nmse=2.0, taken="scratch")
    cell = decisions(gather(read_outcomes(tmp_path)))[0]
    assert (cell.better, cell.regret) == ("scratch", 0.0)


def test_a_switch_to_what_did_not_run_is_not_judged(tmp_path: Path) -> None:
    write_seed(tmp_path, "p", 0, {"ours_always": 10.0, "ft": 20.0}, nmse=2.0, taken="scratch")
    write_seed(tmp_path, "p", 1, {"ours_always": 10.0, "ft": 20.0}, nmse=2.0, taken=None)
    found = evidence(gather(read_outcomes(tmp_path)))
    assert (found["cells"], found["decided"], found["agreement"]) == (2, 0, None)


def test_seeds_without_both_forced_methods_are_left_out(tmp_path: Path) -> None:
    write_seed(tmp_path, "p", 0, {"ours_always": 10.0, "ft": 20.0}, nmse=2.0, taken="ft")
    write_seed(tmp_path, "p", 1, {"ft": 20.0}, nmse=2.0, taken="ft")
    write_seed(tmp_path, "q", 0, {"ours_always": 10.0}, nmse=2.0, taken="ft")
    assert [(cell.pair, cell.seed) for cell in decisions(gather(read_outcomes(tmp_path)))] == [
        ("p", 0)
    ]


def test_no_decision_is_no_evidence() -> None:
    assert switching([], np.random.default_rng(0)) == {
        "cells": 0,
        "spearman": {},
        "decided": 0,
        "agreement": None,
        "regret_mean": None,
        "rows": [],
    }
