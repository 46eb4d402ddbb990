"""Does the sizing page say what its arithmetic gives?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from sizing.__main__ import MEASURED, as_text
from sizing.costs import Measured, Prices, RobotHour, fleet, robot_hour

PAGE = Path(__file__).parents[2] / "docs" / "sizing.md"


@pytest.fixture(scope="module")
def measured() -> Measured:
    return msgspec.json.decode(MEASURED.read_bytes(), type=Measured)


def test_a_robot_hour_by_hand(measured: Measured) -> None:
    hour = robot_hour(measured, 1_000)
    assert hour.wire_mb == pytest.approx(50 * 3600 * 57 / 1e6)
    assert hour.disk_mb == pytest.approx(50 * 3600 * (89 + 164) / 1e6)
    assert hour.ingest_core_s == pytest.approx(3600 * 270e-6)
    assert hour.learner_core_s == pytest.approx(3600 * 200 / 1250)


def test_its_price_by_hand() -> None:
    hour = RobotHour(wire_mb=0.0, disk_mb=1_000.0, ingest_core_s=1_800.0, learner_core_s=3_600.0)
    price = hour.price(Prices(core_h=2.0, gb_month=3.0), adapting=0.5, kept_h=365.0)
    assert price == pytest.approx((0.5 + 0.5) * 2.0 + 0.5 * 3.0)


@pytest.mark.parametrize(
    ("robots", "cells"),
    [
        (10, ("0.03 MB/s", "0.63 % of a core", "1.3 GB", "2.4 GB")),
        (1_000, ("2.9 MB/s", "27 % of a core", "128 GB", "236 GB")),
        (100_000, ("285 MB/s", "18.5 cores", "12.8 TB", "23.6 TB")),
    ],
)
def test_the_page_has_the_figures(measured: Measured, robots: int, cells: tuple[str, ...]) -> None:
    found = fleet(measured, robots)
    wire, ingest, store, archive = (float(cell.split()[0]) for cell in cells)
    assert found.wire_mb_s == pytest.approx(wire, rel=0.06)
    unit = 100.0 if "%" in cells[1] else 1.0
    assert found.ingest_cores * unit == pytest.approx(ingest, rel=0.06)
    in_gb = 1e3 if "TB" in cells[2] else 1.0
    assert found.store_gb_day == pytest.approx(store * in_gb, rel=0.06)
    assert found.mcap_gb_day == pytest.approx(archive * in_gb, rel=0.06)
    page = PAGE.read_text(encoding="utf-8")
    assert all(cell in page for cell in cells)


def test_what_is_printed_is_what_the_page_quotes(measured: Measured) -> None:
    page, printed = PAGE.read_text(encoding="utf-8"), as_text(measured, None, 0.01, 30.0)
    assert all(line in page for line in printed.splitlines() if line)


def test_the_page_has_the_unit_costs_and_says_where_each_comes_from(measured: Measured) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"{cost:g} µs a batch" in page for cost in measured.ingest_us_per_batch.values())
    taken = ", ".join(f"{cost:g}" for cost in measured.take_us_per_batch.values())
    assert f"{taken} µs a batch" in page
    assert {*measured.sources} == {*Measured.__struct_fields__} - {"sources"}


def test_the_page_and_performance_agree_on_backlogs() -> None:
    figure = "479,415"
    assert f"{figure} records/s" in PAGE.read_text(encoding="utf-8")
    assert figure in PAGE.with_name("performance.md").read_text(encoding="utf-8")
