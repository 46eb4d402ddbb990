"""Is what the benchmark runs what it says, and each cell once?"""

from __future__ import annotations

import pytest

from offboard.bench.live import LIVE_METHODS
from offboard.bench.methods import METHODS
from offboard.bench.pairs import LIVE, PAIRS
from offboard.bench.plan import DEFAULT, QUOTABLE, Selection
from protocol.errors import ConfigError


def names(selection: Selection) -> list[tuple[str, str, int]]:
    return [(cell.pair.name, cell.method, cell.seed) for cell in selection.cells()]


def test_every_pair_gets_some_seeds_before_any_gets_all() -> None:
    seeds = [seed for _, _, seed in names(Selection())]
    assert seeds == sorted(seeds)


def test_the_default_can_be_quoted_and_is_what_the_plan_lists() -> None:
    found = names(Selection())
    assert len(set(found)) == len(found)
    assert {pair for pair, _, _ in found} == {share.pair for share in DEFAULT}
    counts = {(pair, method): 0 for pair, method, _ in found}
    for pair, method, _ in found:
        counts[pair, method] += 1
    assert min(counts.values()) == QUOTABLE
    assert counts["furuta", "ours"] == counts["furuta", "ft"] == 10


def test_the_switch_is_judged_on_every_rig_pair_and_the_front_thigh() -> None:
    judged = {pair for pair, method, _ in names(Selection()) if method == "ours_always"}
    assert judged >= {p.name for p in PAIRS if p.family == "furuta"} | {"cheetah_front_thigh"}


def test_full_is_every_pair_with_every_method_of_one_budget() -> None:
    found = {(pair, method) for pair, method, _ in names(Selection(full=True))}
    equal = METHODS.keys() - {"scratch_long"}
    assert found == {(pair.name, method) for pair in PAIRS for method in equal}


def test_a_longer_run_is_made_where_it_is_asked_for() -> None:
    asked = Selection(pairs=("furuta_gap_2",), methods=("scratch_long",), seeds=1)
    assert names(asked) == [("furuta_gap_2", "scratch_long", 0)]


def test_a_part_is_what_was_asked_for() -> None:
    few = Selection(pairs=("furuta",), methods=("ft",), seeds=2)
    assert names(few) == [("furuta", "ft", 0), ("furuta", "ft", 1)]
    beyond = Selection(pairs=("quadruped",), seeds=1)
    assert [method for _, method, _ in names(beyond)] == ["ours", "ft", "scratch", "ours_always"]


def test_what_runs_in_real_time_must_be_asked_for() -> None:
    assert LIVE.name not in {pair for pair, _, _ in names(Selection(full=True))}
    live = names(Selection(pairs=(LIVE.name,)))
    assert len(live) == 10 * len(LIVE_METHODS)
    assert {method for _, method, _ in live} == LIVE_METHODS.keys()


def test_an_unknown_pair_is_refused() -> None:
    with pytest.raises(ConfigError, match="pairs are"):
        Selection(pairs=("furutta",)).cells()
