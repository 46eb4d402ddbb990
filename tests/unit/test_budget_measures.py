"""Is every limit of the budget measured over the window, and is a breach noticed?"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from made_agent import Control

from onboard.budget import Look, Usage, measures, size_of, usage_of
from onboard.control_api import Status
from onboard.timing import Histogram
from protocol.errors import ConfigError, WireError
from protocol.robot_spec import Budget, RobotSpec, load_robot_spec, parse_budget, parse_robot_spec

LIMITS = Budget(
    rate_min_share=0.99,
    missed_max_share=0.01,
    period_error_p99_max_us=500.0,
    tick_work_p99_max_us=1000.0,
    control_cpu_max_share=0.2,
    agent_cpu_max_share=0.1,
    memory_growth_max_mb=1.0,
    log_growth_max_kb_s=2.0,
)
SECONDS = 10


def status(folder: Path, ticks: int, at_s: float, late: Histogram, work: Histogram) -> Status:
    return msgspec.structs.replace(
        Control(folder)._status(),
        pid=7,
        control_hz=50,
        ticks=ticks,
        missed_ticks=0,
        at_ns=round(at_s * 1e9),
        period_error_histogram=list(late.counts),
        work_histogram=list(work.counts),
    )


@pytest.fixture
def looks(tmp_path: Path) -> tuple[Look, Look]:
    """Ten sound seconds after a start that was not."""
    late, work = Histogram(), Histogram()
    for _ in range(50):
        late.add(20_000.0)
        work.add(20_000.0)
    before = Look(status(tmp_path, 50, 1.0, late, work), Usage(5.0, 10**8), Usage(1.0, 10**8), 500)
    for _ in range(50 * SECONDS):
        late.add(100.0)
        work.add(200.0)
    after = Look(
        status(tmp_path, 50 + 50 * SECONDS, 1.0 + SECONDS, late, work),
        Usage(6.0, 10**8 + 400_000),
        Usage(1.5, 10**8 - 400_000),
        10_500,
    )
    return before, after


def measured(looks: tuple[Look, Look]) -> dict[str, float]:
    return {measure.name: measure.value for measure in measures(*looks, LIMITS)}


def over(looks: tuple[Look, Look]) -> list[str]:
    return [measure.name for measure in measures(*looks, LIMITS) if not measure.kept]


def test_only_what_happened_between_the_looks_counts(looks: tuple[Look, Look]) -> None:
    found = measured(looks)
    assert list(found) == list(LIMITS.__struct_fields__)
    assert found["rate_min_share"] == pytest.approx(1.0)
    assert found["missed_max_share"] == 0.0
    assert found["period_error_p99_max_us"] == pytest.approx(100.0, rel=0.1)
    assert found["tick_work_p99_max_us"] == pytest.approx(200.0, rel=0.1)
    assert found["control_cpu_max_share"] == pytest.approx(0.1)
    assert found["agent_cpu_max_share"] == pytest.approx(0.05)
    assert found["memory_growth_max_mb"] == pytest.approx(0.4)
    assert found["log_growth_max_kb_s"] == pytest.approx(1.0)
    assert over(looks) == []


def changed(look: Look, **numbers: int) -> Look:
    return look._replace(status=msgspec.structs.replace(look.status, **numbers))


def test_each_breach_is_named(looks: tuple[Look, Look]) -> None:
    before, after = looks
    slow = changed(after, ticks=50 + 49 * SECONDS, missed_ticks=SECONDS)
    assert over((before, slow)) == ["rate_min_share", "missed_max_share"]
    busy = after._replace(control=Usage(7.1, 10**8), agent=Usage(2.1, 10**8 + 1_100_000))
    assert over((before, busy)) == [
        *("control_cpu_max_share", "agent_cpu_max_share", "memory_growth_max_mb"),
    ]
    assert over((before, after._replace(log_bytes=21_000))) == ["log_growth_max_kb_s"]


def test_an_agent_that_does_not_run_keeps_no_limit(looks: tuple[Look, Look]) -> None:
    before, after = looks
    assert over((before, after._replace(agent=None))) == [
        *("agent_cpu_max_share", "memory_growth_max_mb"),
    ]


@pytest.mark.parametrize("numbers", [{"pid": 8}, {"ticks": 10}])
def test_a_restart_in_between_is_no_measurement(
    looks: tuple[Look, Look], numbers: dict[str, int]
) -> None:
    with pytest.raises(WireError, match="restarted"):
        measures(looks[0], changed(looks[1], **numbers), LIMITS)


def test_processes_and_files_are_read_as_the_system_tells() -> None:
    usage = usage_of(os.getpid())
    assert usage is not None
    assert usage.cpu_s == pytest.approx(sum(os.times()[:2]), abs=0.5)
    assert usage.resident_bytes > 10**6
    assert usage_of(0) is None


def test_a_process_name_with_blanks_and_brackets_is_read_past(tmp_path: Path) -> None:
    (tmp_path / "9").mkdir()
    fields = " ".join(["S"] + ["0"] * 10 + ["150", "50"] + ["0"] * 30)
    (tmp_path / "9" / "stat").write_text(f"9 (a) b (c)) {fields}\n")
    (tmp_path / "9" / "statm").write_text("1000 25 1 1 0 1 0\n")
    ticks_hz, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert usage_of(9, tmp_path) == Usage(200 / ticks_hz, 25 * page)


def test_sizes_are_summed_over_folders_that_exist(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "b").write_bytes(bytes(5))
    assert size_of([tmp_path, tmp_path / "nowhere"]) == 15


def test_the_budget_is_optional_and_no_part_of_the_contract(furuta: RobotSpec) -> None:
    assert furuta.budget is not None
    without = msgspec.structs.replace(furuta, budget=None)
    assert without.digest() == furuta.digest()


def test_a_file_of_limits_holds_a_whole_sound_table() -> None:
    text = "[budget]\n" + "".join(
        f"{key} = {value}\n" for key, value in msgspec.to_builtins(LIMITS).items()
    )
    assert parse_budget(text, "ci.toml") == LIMITS
    for wrong in ("", "[budgets]\n", text.replace("0.99", "1.5"), text.replace("rate", "rat")):
        with pytest.raises(ConfigError, match=r"ci\.toml: no sound \[budget\] table"):
            parse_budget(wrong, "ci.toml")


def test_a_half_written_table_in_a_robot_file_is_refused() -> None:
    path = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
    assert load_robot_spec(path).budget is not None
    text = path.read_text(encoding="utf-8").replace("memory_growth_max_mb = 2.0\n", "")
    with pytest.raises(ConfigError, match="memory_growth_max_mb"):
        parse_robot_spec(text, "rig.toml")
