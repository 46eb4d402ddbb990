"""Does the benchmark of the runtime count, compare and write what it says it does?"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_agent import make_status
from made_rig import ROBOT
from runtime import cyclictest, inference, swaps
from runtime.__main__ import Bench
from runtime.bars import bars
from runtime.cells import CELLS, Cell, Publisher, in_flight, yardstick
from runtime.crew import Cores, Crew, share_out, until
from runtime.engines import in_process
from runtime.network import answer, lay_out, make_bundle, make_weights
from runtime.percentiles import percentiles, ratio, window
from runtime.robot import Bed
from runtime.robot_file import at_rate
from runtime.server import delays_s
from runtime.turns import alternate, observations

from onboard.control_api import Offer, Status
from onboard.hotswap import HotSwap
from onboard.recorder import flight_dtype
from onboard.stopwatch import Section
from onboard.tick import Driver
from onboard.timing import Histogram
from protocol.errors import ConfigError
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec
from protocol.step_record import dtype_of

TEXT = ROBOT.read_text()


# Percentiles and windows.


def test_percentiles_are_values_that_occurred() -> None:
    thousand = np.arange(1, 1001)[::-1]
    assert percentiles(thousand) == {"p50": 500.0, "p99": 990.0, "p999": 999.0, "max": 1000.0}
    assert percentiles([7.0], "p50", "p999") == {"p50": 7.0, "p999": 7.0}


def test_percentiles_of_nothing_are_null() -> None:
    assert percentiles([], "p50", "p99") == {"p50": None, "p99": None}


def test_a_ratio_is_taken_within_a_round() -> None:
    """Our second round is disturbed as theirs is; medians over all rounds would say 2."""
    rounds = {"ours": [3.0, 30.0, 6.0], "theirs": [2.0, 20.0, 3.0]}
    assert ratio(rounds, "ours", "theirs") == 1.5


def status(late_us: list[float], work_us: list[float], **counts: int) -> Status:
    late, work = Histogram(), Histogram()
    for histogram, values in ((late, late_us), (work, work_us)):
        for value in values:
            histogram.add(value)
    return make_status(
        period_error_us=late.summary(),
        work_us=work.summary(),
        period_error_histogram=list(late.counts),
        work_histogram=list(work.counts),
        **counts,
    )


def test_a_window_counts_only_what_came_in_between() -> None:
    start, then = [5_000.0] * 100, [10.0] * 99 + [800.0]
    before = status(start, start, ticks=100, missed_ticks=7, swaps=1, missed_ticks_near_swaps=2)
    after = status(
        start + then, start + then, ticks=200, missed_ticks=8, swaps=4, missed_ticks_near_swaps=2
    )
    found = window(before, after)
    assert (found["ticks"], found["missed"], found["swaps"]) == (100, 1, 3)
    assert found["missed_near_swaps"] == 0
    assert found["period_error_us"]["p50"] == pytest.approx(10.0, rel=0.1)
    assert found["work_us"]["p999"] == pytest.approx(800.0, rel=0.1)


def test_the_maximum_of_a_window_is_exact_where_it_can_be_known() -> None:
    small, great = status([100.0], [100.0]), status([100.0, 777.7], [100.0, 50.0])
    found = window(small, great)
    assert found["period_error_us"]["max"] == 777.7
    assert 50.0 <= found["work_us"]["max"] <= 50.0 * 1.1


def test_a_window_without_ticks_has_no_error() -> None:
    same = status([100.0], [100.0])
    assert set(window(same, same)["period_error_us"].values()) == {0.0}


# The robot at other rates.


def test_the_robots_own_rate_changes_nothing() -> None:
    file = at_rate(TEXT, 50)
    assert (file.text, file.changes) == (TEXT, {})


@pytest.mark.parametrize("rate_hz", [200, 500])
def test_what_is_counted_in_ticks_keeps_its_duration(furuta: RobotSpec, rate_hz: int) -> None:
    spec = at_rate(TEXT, rate_hz).spec
    assert spec.control_hz == rate_hz
    for then, now in (
        (furuta.tasks["swing_up"].episode_steps, spec.tasks["swing_up"].episode_steps),
        (furuta.bus.misses_to_fault, spec.bus.misses_to_fault),
        (furuta.safety.late_ticks_to_hold, spec.safety.late_ticks_to_hold),
    ):
        assert now * spec.tick_s == pytest.approx(then * furuta.tick_s)
    assert spec.bus.watchdog_s == furuta.bus.watchdog_s
    assert spec.safety.effort_max_nm == furuta.safety.effort_max_nm


def test_every_change_is_told(furuta: RobotSpec) -> None:
    file = at_rate(TEXT, 500)
    told = sum(old != new for old, new in zip(TEXT.split("\n"), file.text.split("\n"), strict=True))
    assert told == len(file.changes)
    assert "baud" not in at_rate(TEXT, 200).changes


def test_a_file_without_a_key_to_change_is_refused() -> None:
    with pytest.raises(ConfigError, match="control_hz 0 times"):
        at_rate(TEXT.replace("control_hz = 50", "control_hz=50"), 200)


# The policy.


def test_the_bundle_is_one_that_the_robot_takes(furuta: RobotSpec, tmp_path: Path) -> None:
    swap = HotSwap(furuta, "swing_up")
    folder = lay_out(make_bundle(furuta, 3), tmp_path / "bundle")
    swap.stage(Offer(version=3, directory=str(folder)))
    assert swap.flip(), swap.events[-1].reason
    assert swap.active_version == 3


def test_contenders_compute_the_same_function() -> None:
    O, A = inference.O, inference.A
    weights, pool = make_weights(O, A, 0), observations(O, 0)
    found = {name: np.ravel(infer(pool[1])) for name, infer in in_process(weights).items()}
    inference.check(weights, pool[1], found)
    with pytest.raises(RuntimeError, match="port computes another function"):
        inference.check(weights, pool[0], found)


def test_an_answer_that_is_no_number_is_another_function() -> None:
    weights, obs = make_weights(17, 6, 0), np.zeros(17, np.float32)
    with pytest.raises(RuntimeError, match="session_run"):
        inference.check(weights, obs, {"session_run": np.full(6, math.nan)})


def test_the_policy_is_what_hand_arithmetic_says() -> None:
    """A network whose hidden layers pass one number on."""
    weights = {name: np.zeros_like(value) for name, value in make_weights(2, 1, 0).items()}
    weights["mean"][:], weights["std"][:] = 1.0, 2.0
    for layer in range(4):
        weights[f"w{layer}"][0, 0] = 1.0
    got = answer(weights, np.array([[2.0, 9.0]], np.float32), np.array([[0.25]], np.float32))
    assert got[0, 0] == pytest.approx(math.tanh((2.0 - 1.0) / 2.0 + 0.25), abs=1e-6)


# Turns and inference.


def test_contenders_take_turns() -> None:
    told: list[str] = []

    def turn(name: str, calls: int) -> np.ndarray:
        told.append(f"{name}{calls}")
        return np.full(calls, len(told))

    turns = {name: lambda calls, name=name: turn(name, calls) for name in "ab"}
    took = alternate(turns, rounds=2, calls=3, warm_up=9)
    assert told == ["a9", "b9", "a3", "b3", "a3", "b3"]
    assert took["a"].tolist() == [[3, 3, 3], [5, 5, 5]]


def test_inference_is_reported_in_microseconds() -> None:
    took = {
        "port": np.array([[12_000] * 3, [24_000] * 3]),
        "bare_io_binding": np.array([[10_000] * 3, [20_000] * 3]),
        "bare_io_binding_weights_as_inputs": np.array([[12_000] * 3, [20_000] * 3]),
    }
    found = inference.report(took)
    assert found["inference"]["port"] == {"p50": 12.0, "p99": 24.0, "p999": 24.0}
    assert found["port_over_bare"] == pytest.approx(1.2)
    assert found["port_over_bare_same_graph"] == pytest.approx(1.1)


# Cells.


def test_the_cells_are_those_of_the_contract() -> None:
    loads = [(cell.rate_hz, cell.load) for cell in CELLS]
    assert loads == [(hz, load) for hz in (50, 200, 500) for load in ("quiet", "loaded")]


def test_only_ticks_that_a_policy_drove_count_from_sense_to_act(furuta: RobotSpec) -> None:
    rows = np.zeros(4, flight_dtype(furuta))
    rows["driver"] = [Driver.HOMING, Driver.POLICY, Driver.POLICY, Driver.NOBODY]
    rows["mode"] = [Mode.RECOVER, Mode.RUN, Mode.RUN, Mode.IDLE]
    rows["act_ns"] = [9_000_000, 1_000_000, 2_000_000, 9_000_000]
    rows["span_us"] = [9_000.0, 1_100.0, 2_100.0, 9_000.0]
    rows["section_span_us"][:, Section.READ] = 900.0
    rows["section_work_us"][:, Section.READ] = 50.0
    found = in_flight(rows)
    assert (found["flight_ticks"], found["policy_ticks"], found["moving_share"]) == (4, 2, 0.75)
    assert (found["sense_to_act_us"]["p50"], found["sense_to_act_us"]["max"]) == (1000.0, 2000.0)
    assert found["tick_without_wait_us"]["max"] == pytest.approx(2_100.0 - 850.0)


def test_a_flight_without_ticks_has_no_percentiles(furuta: RobotSpec) -> None:
    found = in_flight(np.zeros(0, flight_dtype(furuta)))
    assert found["moving_share"] is None
    assert found["sense_to_act_us"]["p50"] is None


def test_a_delay_ends_with_the_first_record_of_the_version_or_a_newer_one(
    furuta: RobotSpec,
) -> None:
    rows = np.zeros(4, dtype_of(furuta))
    rows["sense_ns"] = [1e9, 2e9, 3e9, 4e9]
    rows["policy_version"] = [1, 2, 2, 4]
    found = delays_s(rows, {4: int(3.5e9), 2: int(1.5e9), 3: int(2.5e9), 5: int(3.9e9)})
    assert found.tolist() == pytest.approx([0.5, 1.5, 0.5])  # 2, 3 by way of 4, 4; 5 never drove


def test_a_policy_is_published_every_two_seconds_and_a_late_one_moves_no_other() -> None:
    published: list[tuple[float, int]] = []
    server = SimpleNamespace(publish=lambda version: published.append((now_s, version)))
    publisher = Publisher(server)
    for now_s in (0.0, 1.9, 2.0, 2.1, 7.9, 8.0):
        publisher(now_s)
    assert published == [(2.0, 2), (7.9, 3), (8.0, 4)]


# Swaps.


def test_prepared_bundles_are_distinct_and_fit(furuta: RobotSpec, tmp_path: Path) -> None:
    cores = Cores(0, frozenset({0}))
    bed = Bed(at_rate(TEXT, 50), tmp_path, tmp_path, cores, Crew(tmp_path))
    folders = swaps.prepared(bed, 9)
    assert [*folders] == [*range(2, 11)]
    swap = HotSwap(furuta, "swing_up")
    for version in (2, 9, 10):  # 2 and 10 have the same weights
        swap.stage(Offer(version=version, directory=str(folders[version])))
        assert swap.flip(), swap.events[-1].reason
    assert (folders[2] / "weights.safetensors").samefile(folders[10] / "weights.safetensors")
    assert not (folders[2] / "weights.safetensors").samefile(folders[9] / "weights.safetensors")


def test_the_swap_entry_keeps_the_contract(furuta: RobotSpec) -> None:
    counted = {"swaps": 2, "rejected": 0, "ticks": 90, "missed": 4, "missed_near_swaps": 3}
    rows = np.zeros(3, dtype_of(furuta))
    rows["sense_ns"], rows["policy_version"] = [1e9, 2e9, 4e9], [2, 3, 4]
    alone = counted | {"missed": 1, "ticks": 91}
    series = swaps.Series(
        counted, alone, {2: int(0.9e9), 3: int(1.7e9)}, [90_000_000, 91_000_000, 90_250_000]
    )
    found = swaps.entry(series, rows, {4: int(3.2e9)}, [15_000, 25_000])
    assert found["count"] == 2
    assert found["missed_because_of_swap"] == 3
    assert (found["missed_without_swaps"], found["ticks_without_swaps"]) == (1, 91)
    assert found["rss_growth_mb"] == 0.25
    assert found["announce_to_active_s"] == pytest.approx({"p50": 0.8, "p99": 0.8})
    assert found["offer_to_active_s"] == pytest.approx({"p50": 0.1, "p99": 0.3})
    assert found["flip_us"] == {"p50": 15.0, "p99": 25.0, "max": 25.0}


# cyclictest.


def test_where_it_is_missing_the_cell_says_why() -> None:
    assert yardstick(["not installed", "not installed"]) == {
        "cyclictest_us": None,
        "cyclictest_reason": "not installed",
    }
    found = yardstick([cyclictest.Latency(100, 10.0, 90.0), "killed"])
    assert found == {"cyclictest_us": {"max": 90.0, "avg": 10.0, "cycles": 100}}


def test_its_report_is_read() -> None:
    thread = {"histogram": {}, "cycles": 200, "min": 19, "max": 141, "avg": 34.17, "cpu": 0}
    report = json.dumps({"file_version": 1, "num_threads": 1, "thread": {"0": thread}})
    assert cyclictest.parsed(report) == cyclictest.Latency(200, 34.17, 141.0)


def test_slices_are_joined() -> None:
    slices = [cyclictest.Latency(100, 10.0, 90.0), cyclictest.Latency(300, 30.0, 70.0)]
    assert cyclictest.combined(slices) == cyclictest.Latency(400, 25.0, 90.0)


def test_without_it_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt install rt-tests"):
        cyclictest.measure(50, 1.0, 80, Cores(0, frozenset({1})), tmp_path)


# Processes.


def test_the_loop_has_its_core_to_itself_where_there_is_another() -> None:
    assert share_out(0, {0, 1, 3}) == Cores(0, frozenset({1, 3}))
    assert share_out(0, {0}).others == {0}
    assert share_out(0, {0, 1}).both == {0, 1}


def test_nobody_outlives_the_crew(tmp_path: Path) -> None:
    cpus = frozenset(share_out(0, os.sched_getaffinity(0)).others)
    with Crew(tmp_path) as crew:
        pid = crew.start("sleeper", ("-c", "import time; time.sleep(60)"), cpus)
        crew.check()
    assert not Path(f"/proc/{pid}").exists()


def test_a_death_in_the_crew_is_told(tmp_path: Path) -> None:
    with Crew(tmp_path) as crew:
        crew.start("mortal", ("-c", "raise SystemExit(3)"), frozenset({0}))

        def died() -> str:
            try:
                crew.check()
            except RuntimeError as error:
                return str(error)
            return ""

        assert "mortal ended with status 3" in until(died, "its end", 20.0)


# Bars.


def document(**changes: Any) -> dict[str, Any]:
    summary = {"p50": 80.0, "p99": 100.0, "p999": 310.0, "max": 900.0}
    cell = {
        "rate_hz": 50,
        "load": "loaded",
        "seconds": 600.0,
        "missed": 0,
        "period_error_us": summary,
        "cyclictest_us": {"max": 160.0, "avg": 20.0},
    }
    swap = {
        "count": 1000,
        "announce_to_active_s": {"p50": 0.8, "p99": 1.5},
        "missed_because_of_swap": 0,
        "rss_growth_mb": 0.4,
    }
    whole = {
        "cells": [{**cell, **changes}],
        "port_over_bare": 1.31,
        "tick_without_serial_us": {"p50": 149.0},
        "swap": swap,
    }
    return {**whole, **{key: changes[key] for key in changes if key in whole}}


def verdicts(**changes: Any) -> dict[str, bool | None]:
    return {bar.name: bar.met for bar in bars(document(**changes))}


def test_bars_are_judged() -> None:
    assert verdicts() == {
        "missed in 10 minutes, 50 Hz loaded": True,
        "period error p99.9 (us), 50 Hz loaded": True,
        "policy port / bare I/O binding": False,
        "tick without serial wait, median (us)": True,
        "announce to active, median (s)": True,
        "missed because of 1000 swaps": True,
        "memory growth over 1000 swaps (MB)": True,
    }


def test_ten_minutes_are_not_proven_by_less() -> None:
    assert verdicts(seconds=30.0)["missed in 10 minutes, 50 Hz loaded"] is None


@pytest.mark.parametrize("latency", [None, {"max": 150.0, "avg": 20.0}])
def test_without_a_slower_machine_the_period_error_has_300_microseconds(
    latency: dict[str, float] | None,
) -> None:
    assert verdicts(cyclictest_us=latency)["period error p99.9 (us), 50 Hz loaded"] is False


def test_a_cell_that_failed_meets_no_bar() -> None:
    found = verdicts(failed="the robot went to FAULT: no bus")
    assert found["50 Hz loaded: the robot went to FAULT: no bus"] is None
    assert not [name for name in found if "period error" in name]


def test_a_run_without_swaps_has_no_verdict_on_them() -> None:
    assert not [name for name in verdicts(swap=None) if "swap" in name]


# The document.


def test_the_document_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is measured; and a cell that fails takes nobody with it."""
    made = document()

    def cell(which: Cell, *arguments: Any) -> Any:
        if which.rate_hz == 500:
            raise RuntimeError("the robot went to FAULT")
        return {**made["cells"][0], **which._asdict()}

    monkeypatch.setattr("runtime.cells.measure", cell)
    monkeypatch.setattr("runtime.swaps.measure", lambda *arguments: made["swap"])
    monkeypatch.setattr(
        "runtime.inference.measure", lambda: {"inference": {}, "port_over_bare": 1.1}
    )
    monkeypatch.setattr("runtime.planner.measure", lambda: {"planner": {"p50": 800.0}})
    monkeypatch.setattr(
        "runtime.loop.measure",
        lambda *arguments: {
            "tick_without_serial_us": {"p50": 120.0},
            "allocations_per_10k_ticks": 2,
        },
    )
    found = Bench(ROBOT, tmp_path).run(CELLS, 30.0, 1000)
    contract = {"cells", "inference", "port_over_bare", "swap", "allocations_per_10k_ticks"}
    assert contract | {"machine", "commit"} <= found.keys()
    assert [entry.get("failed") for entry in found["cells"]] == [
        *[None] * 4,
        *["the robot went to FAULT"] * 2,
    ]
    assert {bar["met"] for bar in found["bars"]} == {True, None}
    assert json.loads(json.dumps(found)) == found
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
