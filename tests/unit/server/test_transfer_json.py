"""Does transfer.json say of finished cells what can be said by hand, and no more?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_cells import STEPS, write_cell, write_method

from offboard.bench.transfer import write_transfer
from protocol.errors import StoreError

FAST = [20.0, 85.0, 90.0, 90.0, 90.0]
SLOW = [20.0, 30.0, 50.0, 82.0, 90.0]
NEVER = [0.0, 5.0, 10.0, 10.0, 20.0]


def refuse(constant: str) -> float:
    raise ValueError(constant)


def written(out: Path) -> dict:
    """transfer.json as a strict reader sees it."""
    write_transfer(out)
    return json.loads((out / "transfer.json").read_text(), parse_constant=refuse)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Ours needs 1,000 steps, fine-tuning and SAC 3,000."""
    for method, curve in (("ours", FAST), ("ft", SLOW), ("scratch", [0.0, *SLOW[1:]])):
        write_method(tmp_path, "furuta", method, curve)
    return tmp_path


def test_the_document_has_what_the_contract_names(three: Path) -> None:
    document = written(three)
    assert document.keys() >= {
        *("cells", "ratios", "versus_ft", "uncertainty", "speed", "machine", "commit"),
    }
    assert document["cells"][0].keys() >= {
        *("pair", "method", "seeds", "budget_steps", "zero_shot", "return_iqm", "return_ci95"),
        *("auc_iqm", "auc_ci95", "steps_to_threshold_iqm", "threshold", "wall_s", "source_steps"),
    }
    assert document["versus_ft"]["furuta"].keys() >= {"auc_ratio", "ci95"}
    assert document["machine"].keys() >= {"cpu", "cores", "torch"}


def test_a_cell_is_scored_over_its_seeds(three: Path) -> None:
    cell = next(one for one in written(three)["cells"] if one["method"] == "ours")
    assert (cell["pair"], cell["seeds"], cell["seed_list"]) == ("furuta", 5, [0, 1, 2, 3, 4])
    assert (cell["budget_steps"], cell["zero_shot"], cell["threshold"]) == (4_000, 20.0, 80.0)
    assert cell["return_iqm"] == 92.0
    assert cell["return_ci95"][0] < 92.0 < cell["return_ci95"][1]
    # ½·20 + 85 + 90 + 90 + ½·90 = 320 over four stretches, and the seed on 3½ of the four
    assert cell["auc_iqm"] == pytest.approx((320.0 + 3.5 * 2.0) / 4.0)
    assert cell["steps_to_threshold_iqm"] == 1_000.0
    assert cell["reached"] == 5
    assert (cell["wall_s"], cell["source_steps"]) == (40.0, 10_000)


def test_the_ratio_is_of_steps_to_the_threshold(three: Path) -> None:
    assert written(three)["ratios"] == {"furuta": pytest.approx(1.0 / 3.0)}


def test_the_faster_of_two_sacs_is_the_rival(three: Path) -> None:
    write_method(three, "furuta", "sb3_sac", [0.0, 10.0, 81.0, 82.0, 83.0])
    assert written(three)["ratios"] == {"furuta": 0.5}


@pytest.mark.parametrize(
    ("ours", "sac", "reason"),
    [
        (FAST, NEVER, r"SAC did not reach the threshold in 4000 steps; ours needed 1000"),
        (NEVER, SLOW, r"ours did not reach the threshold in 4000 steps"),
        (FAST, None, r"SAC did not run"),
        (None, SLOW, r"ours did not run"),
    ],
)
def test_no_ratio_has_its_reason(tmp_path: Path, ours, sac, reason: str) -> None:
    for method, curve in (("ours", ours), ("scratch", sac)):
        if curve is not None:
            write_method(tmp_path, "p", method, curve)
    document = written(tmp_path)
    assert document["ratios"] == {"p": None}
    assert any(reason in note for note in document["notes"])


def test_a_threshold_that_is_not_reached_is_null(tmp_path: Path) -> None:
    write_method(tmp_path, "p", "ours", NEVER)
    cell = written(tmp_path)["cells"][0]
    assert cell["steps_to_threshold_iqm"] is None
    assert cell["reached"] == 0


def test_an_unreachable_target_has_no_threshold_and_areas_in_shares_of_the_sources_gain(
    tmp_path: Path,
) -> None:
    for seed in range(5):
        for method, level in (("ours", 30.0), ("ft", 20.0), ("scratch", 10.0)):
            nothing = {"threshold": None, "expert_return": -1.0, "source_gain": 200.0}
            write_cell(tmp_path, "p", method, seed, [level] * 5, **nothing)
    document = written(tmp_path)
    assert {cell["threshold"] for cell in document["cells"]} == {None}
    assert {cell["reached"] for cell in document["cells"]} == {0}
    assert document["ratios"] == {"p": None}
    assert any("p: no threshold" in note for note in document["notes"])
    assert document["versus_ft"]["p"]["auc_ratio"] == pytest.approx(1.5)
    assert document["versus_ft"]["p"]["difference"] == pytest.approx(0.05)


def test_areas_are_compared_above_the_random_policy(tmp_path: Path) -> None:
    """Random -100, expert 100: areas of 50 and -50 are 3/4 and 1/4 of the way."""
    for seed in range(5):
        for method, level in (("ours", 50.0), ("ft", -50.0)):
            write_cell(tmp_path, "p", method, seed, [level] * 5, random_return=-100.0)
    versus = written(tmp_path)["versus_ft"]["p"]
    assert versus["auc_ratio"] == pytest.approx(3.0)
    assert versus["difference"] == pytest.approx(0.5)
    assert versus["improvement"] == 1.0


def test_only_seeds_that_both_have_are_paired(three: Path) -> None:
    write_cell(three, "furuta", "ours", 17, [0.0] * 5)
    versus = written(three)["versus_ft"]["furuta"]
    assert versus["seeds"] == 5
    # areas: ours (320 + 7)/4, ft ½·20 + 30 + 50 + 82 + ½·90 = (217 + 7)/4
    assert versus["auc_ratio"] == pytest.approx(327.0 / 224.0)
    assert versus["ci95"][0] < 327.0 / 224.0 < versus["ci95"][1]


def test_other_budgets_are_not_compared(tmp_path: Path) -> None:
    write_cell(tmp_path, "p", "ours", 0, [1.0] * 5)
    write_cell(tmp_path, "p", "ft", 0, [1.0] * 5, steps=(0, 1, 2, 3, 4))
    document = written(tmp_path)
    assert document["versus_ft"] == {}
    assert any("areas are not compared" in note for note in document["notes"])


def test_a_return_before_and_one_after_are_no_curve_to_compare(tmp_path: Path) -> None:
    for method in ("ours", "ft"):
        write_cell(tmp_path, "live", method, 0, [1.0, 2.0], steps=(0, 1000))
    document = written(tmp_path)
    assert document["versus_ft"] == {}
    assert any("areas are not compared" in note for note in document["notes"])


def test_improvement_is_over_every_pair_and_method(three: Path) -> None:
    write_method(three, "other", "ours", NEVER)
    write_method(three, "other", "ft", FAST)
    improvement = written(three)["improvement"]
    assert improvement["ft"] == {"value": 0.5, "ci95": [0.5, 0.5], "pairs": 2}
    assert improvement["scratch"] == {"value": 1.0, "ci95": [1.0, 1.0], "pairs": 1}


def bound(horizon: int, penalty: float | None, coverage: float) -> dict:
    return {
        "horizon": horizon,
        "stated": 0.9,
        "penalty": penalty,
        "coverage": coverage,
        "tightness": 0.5,
        "reason": "" if penalty is not None else "its own check failed",
    }


def test_uncertainty_is_averaged_where_a_bound_was_claimed(tmp_path: Path) -> None:
    """Seed 1 claims no bound at 25 steps; what it would have covered there counts for nothing."""
    for seed, penalty in enumerate((1.0, None, 2.0)):
        covered = 0.86 + 0.04 * seed
        found = {
            "spearman_source": 0.4 + 0.1 * seed,
            "coverage_stated": 0.9,
            "coverage_measured": covered,
            "horizon": 25,
            "bounds": [bound(5, 1.0, 0.9), bound(25, penalty, covered), bound(50, None, 0.1)],
        }
        write_cell(tmp_path, "p", "ours", seed, FAST, uncertainty=found)
    write_cell(tmp_path, "p", "ft", 0, FAST, uncertainty={"spearman_source": -1.0})
    found = written(tmp_path)["uncertainty"]["p"]
    assert found["spearman_source"] == pytest.approx(0.5)
    assert found["coverage_measured"] == pytest.approx(0.9)  # of 0.86 and 0.94
    assert (found["coverage_stated"], found["seeds"], found["claimed"]) == (0.9, 3, 2)
    assert [b["horizon"] for b in found["bounds"]] == [5, 25, 50]
    assert [b["claimed"] for b in found["bounds"]] == [3, 2, 0]
    assert found["bounds"][1]["coverage"] == pytest.approx(0.9)
    assert found["bounds"][2]["coverage"] is None


def test_uncertainty_without_bounds_is_kept(tmp_path: Path) -> None:
    write_cell(tmp_path, "p", "ours", 0, FAST, uncertainty={"spearman_source": 0.7})
    found = written(tmp_path)["uncertainty"]["p"]
    assert found == {"spearman_source": 0.7, "seeds": 1, "claimed": 0, "bounds": []}


def test_speed_is_taken_from_its_own_run(three: Path) -> None:
    assert written(three)["speed"] is None
    (three / "speed.json").write_text('{"ratio_64": 4.5, "ratio_256": 1.2, "deterministic": true}')
    document = written(three)
    assert document["speed"]["ratio_64"] == 4.5
    bars = document["bars"]
    verdicts = [bars[name]["met"] for name in ("speed_64", "speed_256", "determinism")]
    assert verdicts == [True, False, True]


def test_a_damaged_speed_file_is_named(three: Path) -> None:
    (three / "speed.json").write_text("{")
    with pytest.raises(StoreError, match=r"speed\.json"):
        write_transfer(three)


def test_an_unfinished_cell_is_left_out(three: Path) -> None:
    cell = write_cell(three, "furuta", "ours", 9, [0.0] * 5)
    (cell / "result.json").unlink()
    cells = written(three)["cells"]
    assert next(one["seeds"] for one in cells if one["method"] == "ours") == 5


def test_an_evaluation_done_again_counts_once(tmp_path: Path) -> None:
    cell = write_cell(tmp_path, "p", "ours", 0, [0.0, 10.0, 20.0, 30.0, 40.0])
    with (cell / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": STEPS[-1], "episode_return": 44.0}) + "\n")
    assert written(tmp_path)["cells"][0]["return_iqm"] == 44.0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", '{"pair": "p"}'),
        ("result.json", "{"),
        ("metrics.jsonl", '{"step": 0, "episode_return": null}\n'),
        ("metrics.jsonl", '{"step": 0, "episode_return": 1.0}\n'),
        ("metrics.jsonl", "no JSON\n"),
    ],
)
def test_a_damaged_cell_is_named(tmp_path: Path, name: str, content: str) -> None:
    cell = write_cell(tmp_path, "p", "ours", 3, FAST)
    (cell / name).write_text(content)
    with pytest.raises(StoreError, match="p/ours/3"):
        write_transfer(tmp_path)


def test_an_expert_no_better_than_chance_is_refused(tmp_path: Path) -> None:
    write_cell(tmp_path, "p", "ours", 0, FAST, expert_return=5.0, random_return=5.0)
    with pytest.raises(StoreError, match="expert_return"):
        write_transfer(tmp_path)


def test_seeds_of_different_budgets_are_refused(tmp_path: Path) -> None:
    write_cell(tmp_path, "p", "ours", 0, [1.0] * 5)
    write_cell(tmp_path, "p", "ours", 1, [1.0] * 4, steps=STEPS[:4])
    with pytest.raises(StoreError, match="p/ours"):
        write_transfer(tmp_path)


def test_no_cell_is_no_benchmark(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no finished cell"):
        write_transfer(tmp_path)


def test_few_seeds_and_mixed_commits_are_noted(tmp_path: Path) -> None:
    write_cell(tmp_path, "p", "ours", 0, FAST, commit="one")
    write_cell(tmp_path, "p", "ours", 1, FAST, commit="two")
    notes = "\n".join(written(tmp_path)["notes"])
    assert "p/ours: 2 seeds, a quoted number needs 5" in notes
    assert "several commits: one, two" in notes


def test_scoring_twice_gives_the_same_bytes(three: Path) -> None:
    write_transfer(three)
    first = (three / "transfer.json").read_bytes()
    write_transfer(three)
    assert (three / "transfer.json").read_bytes() == first
