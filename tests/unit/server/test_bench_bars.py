"""Is a bar called met only where the cells meet it, and undecided where nothing decides it?"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_cells import write_cell, write_method

from offboard.bench.transfer import write_transfer

UNREACHABLE = {"threshold": None, "expert_return": 1.0, "source_gain": 100.0}


def curve(arrival: int) -> list[float]:
    """Crosses the threshold at the ``arrival``-th thousand steps; 5 is never."""
    return [90.0 if step >= arrival else 10.0 for step in range(5)]


def bars(out: Path) -> dict:
    return write_transfer(out)["bars"]


def learned(out: Path, pair: str, arrivals: dict[str, int]) -> None:
    for method, arrival in arrivals.items():
        write_method(out, pair, method, curve(arrival))


def test_nothing_run_decides_nothing(tmp_path: Path) -> None:
    learned(tmp_path, "p", {"rlpd": 2})
    assert {bar["met"] for bar in bars(tmp_path).values()} == {None}


@pytest.mark.parametrize(
    ("ours", "sac", "met", "goal"),
    [(1, 4, True, True), (2, 4, True, False), (3, 4, False, False), (5, 4, False, False)],
)
def test_half_of_sacs_steps(tmp_path: Path, ours: int, sac: int, met: bool, goal: bool) -> None:
    learned(tmp_path, "p", {"ours": ours, "scratch": sac})
    bar = bars(tmp_path)["steps_against_sac"]
    assert (bar["met"], bar["goal_met"]) == (met, goal)


def test_one_slow_pair_misses_the_bar(tmp_path: Path) -> None:
    learned(tmp_path, "a", {"ours": 1, "scratch": 4})
    learned(tmp_path, "b", {"ours": 4, "scratch": 4})
    learned(tmp_path, "c", {"ours": 5, "scratch": 5})  # SAC does not get there
    bar = bars(tmp_path)["steps_against_sac"]
    assert bar["figure"] == {"a": 0.25, "b": 1.0}
    assert bar["met"] is False


@pytest.mark.parametrize(
    ("ours", "met", "goal"), [(1, True, True), (2, True, None), (3, None, None)]
)
def test_where_only_ours_arrives_the_budget_bounds_the_ratio(
    tmp_path: Path, ours: int, met: bool | None, goal: bool | None
) -> None:
    learned(tmp_path, "p", {"ours": ours, "scratch": 5})
    bar = bars(tmp_path)["steps_against_sac"]
    assert (bar["figure"], bar["at_most"]) == ({}, {"p": ours / 4})
    assert (bar["met"], bar["goal_met"]) == (met, goal)


def test_the_hopeless_pair_asks_for_letting_go_instead(tmp_path: Path) -> None:
    learned(tmp_path, "cheetah_inverted", {"ours": 2, "scratch": 2, "ft": 4})
    found = bars(tmp_path)
    assert found["steps_against_sac"]["met"] is False, "the bar says every pair"
    assert found["steps_against_sac"]["met_hopeless_aside"] is None
    assert found["letting_go"]["figure"]["cheetah_inverted"]["steps"] == 1.0
    assert found["letting_go"]["met"] is True


def test_letting_go_is_held_against_the_better_of_the_two(tmp_path: Path) -> None:
    learned(tmp_path, "furuta_gap_4", {"ours": 4, "scratch": 4, "ft": 2})
    found = bars(tmp_path)["letting_go"]
    assert found["figure"]["furuta_gap_4"]["steps"] == 2.0
    assert found["met"] is False


@pytest.mark.parametrize(("level", "met"), [(20.0, True), (19.2, True), (18.8, False)])
def test_where_nobody_arrives_letting_go_is_judged_by_area(
    tmp_path: Path, level: float, met: bool
) -> None:
    for method, height in (("ours", level), ("ft", 20.0), ("scratch", 5.0)):
        write_cell(tmp_path, "furuta_gap_4", method, 0, [height] * 5, **UNREACHABLE)
    found = bars(tmp_path)["letting_go"]
    assert found["figure"]["furuta_gap_4"]["steps"] is None
    assert found["figure"]["furuta_gap_4"]["area"] == pytest.approx(level / 20.0)
    assert found["met"] is met
    assert "area" in found["wanted"]


@pytest.mark.parametrize(("level", "met"), [(-14.0, True), (-16.0, False)])
def test_below_random_a_ratio_says_nothing_and_the_difference_counts(
    tmp_path: Path, level: float, met: bool
) -> None:
    for method, height in (("ours", level), ("ft", -10.0), ("scratch", -30.0)):
        write_cell(tmp_path, "furuta_gap_4", method, 0, [height] * 5, **UNREACHABLE)
    found = bars(tmp_path)["letting_go"]
    assert found["figure"]["furuta_gap_4"]["area"] is None
    assert found["met"] is met


def test_only_ours_not_arriving_misses_the_bar(tmp_path: Path) -> None:
    learned(tmp_path, "furuta_gap_4", {"ours": 5, "scratch": 4, "ft": 5})
    assert bars(tmp_path)["letting_go"]["met"] is False


def test_half_of_the_pairs_must_be_better_and_none_worse(tmp_path: Path) -> None:
    learned(tmp_path, "a", {"ours": 1, "ft": 3})
    learned(tmp_path, "b", {"ours": 2, "ft": 2})
    bar = bars(tmp_path)["auc_against_ft"]
    assert bar["figure"] == {"pairs": 2, "better": ["a"], "worse": []}
    assert bar["met"] is True
    learned(tmp_path, "c", {"ours": 4, "ft": 2})
    bar = bars(tmp_path)["auc_against_ft"]
    assert bar["figure"] == {"pairs": 3, "better": ["a"], "worse": ["c"]}
    assert bar["met"] is False


def test_a_difference_within_its_interval_is_not_better(tmp_path: Path) -> None:
    for seed, gain in enumerate((-3.0, 4.0, -2.0, 3.0, 1.0)):
        write_cell(tmp_path, "p", "ours", seed, [50.0 + gain] * 5)
        write_cell(tmp_path, "p", "ft", seed, [50.0] * 5)
    assert bars(tmp_path)["auc_against_ft"]["figure"]["better"] == []


@pytest.mark.parametrize(("good", "seeds", "met"), [(8, 10, True), (7, 10, False), (5, 5, None)])
def test_the_flagship_needs_ten_seeds(tmp_path: Path, good: int, seeds: int, met) -> None:
    for seed in range(seeds):
        arrival = 2 if seed < good else 3  # thousand steps
        write_cell(tmp_path, "furuta_live", "ours", seed, curve(arrival))
    bar = bars(tmp_path)["flagship"]
    assert bar["figure"] == {"reached": good, "seeds": seeds}
    assert bar["met"] is met


def test_a_peak_on_the_way_is_not_where_the_flagship_ends(tmp_path: Path) -> None:
    high = curve(1)
    write_cell(tmp_path, "furuta_live", "ours", 0, [high[-1], high[-1], 0.0, *high[3:]])
    assert bars(tmp_path)["flagship"]["figure"] == {"reached": 0, "seeds": 1}


@pytest.mark.parametrize(
    ("penalty", "measured", "met"),
    [(1.0, 0.91, True), (1.0, 0.86, False), (1.0, 0.94, False), (None, 0.2, None)],
)
def test_coverage_is_judged_where_a_bound_is_claimed(
    tmp_path: Path, penalty, measured, met
) -> None:
    bound = {"horizon": 25, "stated": 0.9, "penalty": penalty, "coverage": measured}
    found = {"horizon": 25, "bounds": [{**bound, "tightness": 0.4, "reason": ""}]}
    write_cell(tmp_path, "p", "ours", 0, curve(1), uncertainty=found)
    assert bars(tmp_path)["coverage"]["met"] is met


def test_rank_correlation_must_hold_on_every_pair(tmp_path: Path) -> None:
    for pair, rho in (("a", 0.7), ("b", 0.4)):
        write_cell(tmp_path, pair, "ours", 0, curve(1), uncertainty={"spearman_source": rho})
    bar = bars(tmp_path)["spearman_source"]
    assert bar["figure"] == {"a": 0.7, "b": 0.4}
    assert bar["met"] is False
