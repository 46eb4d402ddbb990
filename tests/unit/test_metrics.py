"""Can Prometheus read what the robot does, in base units, from loopback only?"""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made_agent import Control
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from onboard.control_api import Status, Summary, Timing
from onboard.metrics import LOOPBACK, ControlCollector, MetricsServer
from onboard.spool import Spool, open_spool
from onboard.timing import EDGES_US, Histogram
from protocol.errors import ConfigError, WireError


@pytest.fixture
def status(tmp_path: Path) -> Status:
    late = Histogram()
    for value_us in (0.5, 50.0, 150.0, 5e6):
        late.add(value_us)
    timing = Timing(
        span_us=Summary(p50=900.0, p99=2000.0, p999=3000.0, max=4000.0),
        work_us=Summary(p50=30.0, p99=40.0, p999=50.0, max=60.0),
    )
    return msgspec.structs.replace(
        Control(tmp_path)._status(),
        mode="HOLD",
        ticks=1000,
        missed_ticks=3,
        rolled_back=2,
        scheduling="fifo",
        control_hz=50,
        at_ns=5_500_000_000,
        mode_since_ns=4_000_000_000,
        sections={"read": timing},
        bucket_edges_us=EDGES_US,
        period_error_histogram=list(late.counts),
        period_error_sum_us=late.sum_us,
        work_histogram=[0] * len(late.counts),
        span_histogram=[0] * len(late.counts),
    )


@pytest.fixture
def spool(tmp_path: Path) -> Any:
    spool = open_spool(tmp_path / "spool.sqlite")
    yield spool
    spool.close()


def scraped(ask: Callable[[], Status], spool: Spool) -> dict[str, list[Sample]]:
    """Over HTTP, read with Prometheus' own parser."""
    with closing(MetricsServer(ControlCollector(ask, spool), 0).open()) as server:
        url = f"http://{LOOPBACK}:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def test_counters_modes_and_times_are_served(status: Status, spool: Spool) -> None:
    found = scraped(lambda: status, spool)
    value = {name: samples[0].value for name, samples in found.items()}
    assert value["wombet_up"] == 1
    assert value["wombet_ticks_total"] == 1000
    assert value["wombet_missed_ticks_total"] == 3
    assert value["wombet_policies_rolled_back_total"] == 2
    assert value["wombet_records_spooled_total"] == 0
    assert value["wombet_spool_entries"] == 0
    assert value["wombet_mode_age_seconds"] == 1.5
    assert value["wombet_real_time"] == 1
    assert value["wombet_control_hertz"] == 50
    modes = {sample.labels["mode"]: sample.value for sample in found["wombet_mode"]}
    assert modes["HOLD"] == 1
    assert sum(modes.values()) == 1


def test_sections_have_quantiles_in_seconds(status: Status, spool: Spool) -> None:
    found = scraped(lambda: status, spool)
    span = {
        (sample.labels["section"], sample.labels["quantile"]): sample.value
        for sample in found["wombet_section_span_seconds"]
    }
    assert span["read", "0.5"] == pytest.approx(0.0009)
    assert span["read", "1"] == pytest.approx(0.004)


def test_a_histogram_is_cumulative_and_complete(status: Status, spool: Spool) -> None:
    found = scraped(lambda: status, spool)
    buckets = {
        float(sample.labels["le"]): sample.value
        for sample in found["wombet_period_error_seconds_bucket"]
    }
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets[float("inf")] == 4
    assert buckets[1e-6] == 1
    assert max(count for edge, count in buckets.items() if edge < 0.1) == 3
    assert found["wombet_period_error_seconds_count"][0].value == 4
    assert found["wombet_period_error_seconds_sum"][0].value == pytest.approx(5.0002005)


def test_a_control_that_is_away_is_told_from_an_agent_that_is(spool: Spool) -> None:
    def away() -> Status:
        raise WireError("control is not running")

    found = scraped(away, spool)
    assert found["wombet_up"][0].value == 0
    assert "wombet_ticks_total" not in found
    assert "wombet_records_spooled_total" in found


def test_a_port_that_is_taken_is_a_wrong_configuration(status: Status, spool: Spool) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            MetricsServer(ControlCollector(lambda: status, spool), port).open()
