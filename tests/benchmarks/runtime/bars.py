"""The issue's bars beside what was measured. Pure: from ``runtime.json`` to verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from runtime.percentiles import Json

LONG_S = 600.0
"""A bar about ten minutes is not met by fewer."""


class Bar(NamedTuple):
    """One bar.

    Attributes:
        name: what is limited.
        value: measured; None if it was not.
        limit: the most that is allowed.
    """

    name: str
    value: float | None
    limit: float

    @property
    def met(self) -> bool | None:
        """None if it was not measured."""
        return None if self.value is None else self.value <= self.limit


def bars(document: Json) -> list[Bar]:
    """Every bar; what was not asked for has none."""
    return [*_cells(document["cells"]), *_rest(document)]


def _cells(cells: list[Json]) -> Iterator[Bar]:
    for cell in cells:
        where = f"{cell['rate_hz']} Hz {cell['load']}"
        if "failed" in cell:
            yield Bar(f"{where}: {cell['failed']}", None, 0.0)
            continue
        if (cell["rate_hz"], cell["load"]) == (50, "loaded"):
            asked = cell["seconds"] >= LONG_S
            yield Bar(f"missed in 10 minutes, {where}", cell["missed"] if asked else None, 0.0)
        latency = cell["cyclictest_us"]
        limit_us = 300.0 if latency is None else max(300.0, 2.0 * latency["max"])
        yield Bar(f"period error p99.9 (us), {where}", cell["period_error_us"]["p999"], limit_us)


def _rest(document: Json) -> Iterator[Bar]:
    yield Bar("policy port / bare I/O binding", document["port_over_bare"], 1.3)
    tick_us = document["tick_without_serial_us"]["p50"]
    yield Bar("tick without serial wait, median (us)", tick_us, 150.0)
    if (swap := document["swap"]) is not None:
        announced = swap["announce_to_active_s"]["p50"]
        yield Bar("announce to active, median (s)", announced, 1.0)
        yield Bar(f"missed because of {swap['count']} swaps", swap["missed_because_of_swap"], 0.0)
        yield Bar(f"memory growth over {swap['count']} swaps (MB)", swap["rss_growth_mb"], 1.0)
