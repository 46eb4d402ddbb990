"""The issue's bars beside what was measured. Pure: from ``data.json`` to verdicts."""

from __future__ import annotations

from typing import Any, NamedTuple

from onboard.collector import BATCH_PERIOD_S

RECORDS_S = 100_000.0
LATENCY_MS = 1000.0 * BATCH_PERIOD_S + 100.0
PEER_FACTOR = 5.0
RSS_MB = 256.0
"""Ours: the issue asks for a bound and names none. Of a server, and of fifty robots' agents."""
GROWTH_MB = 32.0
"""From one hour of backlog to ten, which are 150 MB of records more."""


class Bar(NamedTuple):
    """One bar; ``met`` says whether ``value`` is on its right side of ``limit``."""

    name: str
    value: float
    limit: float
    met: bool


def bars(document: dict[str, Any]) -> list[Bar]:
    """Every bar of the issue, and ours for memory."""
    records_s, latency_ms = document["records_s"], document["tick_to_ack_ms"]["p99"]
    fastest = max(document["peer_records_s"].values())
    dropped, skipped = (
        sum(drain[name] for drain in document["drain"]) for name in ("live_dropped", "live_skipped")
    )
    rss_mb = max(document["rss_mb"], document["robot_rss_mb"])
    growth_mb = _growth_mb(document["drain"])
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
        Bar("slots of the 50 Hz schedule skipped beside a backlog", skipped, 0.0, skipped == 0),
        Bar("memory of server or agents, peak (MB)", rss_mb, RSS_MB, rss_mb <= RSS_MB),
        Bar(
            "memory that ten times the backlog costs (MB)",
            growth_mb,
            GROWTH_MB,
            growth_mb <= GROWTH_MB,
        ),
    ]


def _growth_mb(drains: list[dict[str, Any]]) -> float:
    """Of the server or the agent, whichever grew more from the first drain to the last."""
    first, last = drains[0], drains[-1]
    return float(max(last[name] - first[name] for name in ("rss_mb", "robot_rss_mb")))
