"""Print what a robot-hour costs and what fleets ask for, out of measured unit costs."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from sizing.costs import Fleet, Measured, Prices, fleet, robot_hour

MEASURED = Path(__file__).with_name("measured.json")


def main() -> None:
    options = _options()
    measured = msgspec.json.decode(options.measured.read_bytes(), type=Measured)
    prices = None
    if options.core_hour is not None and options.gb_month is not None:
        prices = Prices(options.core_hour, options.gb_month)
    print(as_text(measured, prices, options.adapting, options.kept_days))


def as_text(measured: Measured, prices: Prices | None, adapting: float, kept_days: float) -> str:
    """Two tables: a robot-hour by size of the fleet, and the fleets."""
    sizes = [int(size) for size in measured.ingest_us_per_batch]
    hours = {size: robot_hour(measured, size) for size in sizes}
    rows = [
        ["a robot-hour, of", *(f"{size:,} robots" for size in sizes)],
        ["wire, MB", *(f"{hour.wire_mb:.1f}" for hour in hours.values())],
        ["disk, MB", *(f"{hour.disk_mb:.1f}" for hour in hours.values())],
        ["ingest, core-seconds", *(f"{hour.ingest_core_s:.2f}" for hour in hours.values())],
        [
            "learner while it adapts, core-seconds",
            *(f"{hour.learner_core_s:.0f}" for hour in hours.values()),
        ],
    ]
    if prices is not None:
        each = (hour.price(prices, adapting, 24.0 * kept_days) for hour in hours.values())
        label = f"price, {adapting:.0%} of hours learned from, kept {kept_days:g} days"
        rows.append([label, *(f"{price:.5f}" for price in each)])
    fleets = [fleet(measured, size) for size in sizes]
    names = [field for field in Fleet.__struct_fields__ if field != "robots"]
    table = [["a fleet of", *(f"{one.robots:,}" for one in fleets)]]
    table += [[name, *(_number(getattr(one, name)) for one in fleets)] for name in names]
    return f"{_lines(rows)}\n\n{_lines(table)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def _lines(rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if index == 0 else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sizing", description=__doc__)
    parser.add_argument("--measured", type=Path, default=MEASURED, help="JSON of unit costs")
    parser.add_argument("--core-hour", type=float, help="price of a core for an hour")
    parser.add_argument("--gb-month", type=float, help="price of a gigabyte for a month")
    parser.add_argument("--adapting", type=float, default=0.01, help="share of hours learned from")
    parser.add_argument("--kept-days", type=float, default=30.0, help="how long data is kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
