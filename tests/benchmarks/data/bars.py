"""The issue's bars beside what was measured. Pure: from ``data.json`` to verdicts."""

from __future__ import annotations

from typing import Any, NamedTuple

from onboard.collector import BATCH_PERIOD_S

RECORDS_S = 100_000.0
LATENCY_MS = 1000.0 * BATCH_PERIOD_S + 100.0
PEER_FACTOR = 5.0


class Bar(NamedTuple):
    """One bar; ``met`` says whether ``value`` is on its right side of ``limit``."""

    name: str
    value: float
    limit: float
    met: bool


def bars(document: dict[str, Any]) -> list[Bar]:
    """Every bar of the issue."""
    records_s, latency_ms = document["records_s"], document["tick_to_ack_ms"]["p99"]
    fastest = max(document["peer_records_s"].values())
    dropped = sum(drain["live_dropped"] for drain in document["drain"])
    return [
        Bar("records a second", records_s, RECORDS_S, records_s >= RECORDS_S),
        Bar("tick to acknowledged, p99 (ms)", latency_ms, LATENCY_MS, latency_ms <= LATENCY_MS),
        Bar(
            "times the fastest durable peer",
            records_s / fastest,
            PEER_FACTOR,
            records_s >= PEER_FACTOR * fastest,
        ),
        Bar("new records lost beside a backlog", dropped, 0.0, dropped == 0),
    ]
