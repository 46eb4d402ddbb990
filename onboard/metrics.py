"""What a robot does, for Prometheus: base units in the names, on loopback only.

The agent serves them; a scrape asks control once, through the socket that everybody uses. Control
knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from onboard.control_api import Status
from onboard.spool import Spool
from protocol.errors import ConfigError, WireError
from protocol.modes import Mode

LOOPBACK = "127.0.0.1"
EDGES_PER_BUCKET = 7
"""Of our buckets make one of Prometheus': 1.1 ** 7, a factor of nearly two."""

_COUNTERS = {
    "ticks": "Control ticks executed.",
    "missed_ticks": "Slots of the control schedule that were lost.",
    "missed_ticks_near_swaps": "Of these, lost within five ticks of a policy swap.",
    "late_ticks": "Ticks that began late or after lost ones.",
    "interventions": "Policy commands that the safety envelope changed.",
    "bus_misses": "Ticks in which a bus access failed.",
    "produced": "Step records made.",
    "dropped": "Step records lost because the ring was full.",
    "activated": "Policies that took over.",
    "committed": "Policies that passed probation.",
    "rejected": "Policies that were refused.",
    "rolled_back": "Policies that were dropped again.",
}
_NAMES = {"produced": "records_produced", "dropped": "records_dropped"} | {
    outcome: f"policies_{outcome}"
    for outcome in ("activated", "committed", "rejected", "rolled_back")
}
_SHARES = {"0.5": "p50", "0.99": "p99", "0.999": "p999", "1": "max"}


class ControlCollector(Collector):
    """Metrics of one robot from the status of its control process."""

    def __init__(self, ask: Callable[[], Status], spool: Spool) -> None:
        """``ask`` may raise WireError; of ``spool`` only plain counters are read."""
        self._ask, self._spool = ask, spool

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        spool = self._spool
        yield _counter("records_spooled", "Step records made durable.", spool.spooled)
        yield _counter("records_rejected", "Step records refused for lack of room.", spool.rejected)
        yield _gauge(
            "spool_entries", "Batches not yet acknowledged.", spool.newest + 1 - spool.first_held
        )
        try:
            status = self._ask()
        except WireError:
            yield _gauge("up", "Whether control answers.", 0)
            return
        yield _gauge("up", "Whether control answers.", 1)
        yield from _metrics(status)


class MetricsServer:
    """Serves a collector over HTTP on loopback, in threads of its own."""

    def __init__(self, collector: Collector, port: int) -> None:
        """``port`` 0 takes any."""
        self._registry, self._port = CollectorRegistry(auto_describe=False), port
        self._registry.register(collector)
        self._server: WSGIServer | None = None

    @property
    def port(self) -> int:
        """The port served; 0 before :meth:`open`."""
        return 0 if self._server is None else self._server.server_port

    def open(self) -> MetricsServer:
        """Listen. Raises ConfigError if the port cannot be had."""
        try:
            server, self._thread = start_http_server(self._port, LOOPBACK, self._registry)
        except OSError as error:
            raise ConfigError(
                f"metrics cannot be served on port {self._port} ({error}); choose another, or 0"
            ) from error
        self._server = server
        return self

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


def _metrics(status: Status) -> Iterator[Metric]:
    for field, meaning in _COUNTERS.items():
        yield _counter(_NAMES.get(field, field), meaning, getattr(status, field))
    yield _modes(status)
    yield _gauge("mode_age_seconds", "Time in this mode.", _age_s(status))
    yield _gauge(
        "real_time",
        "SCHED_FIFO, its core and locked memory were granted.",
        int(status.scheduling == "fifo"),
    )
    yield _gauge("control_hertz", "Rate the loop is meant to have.", status.control_hz)
    yield _gauge("policy_version", "Version that drives, 0 for none.", status.active_version)
    yield _gauge("episode", "Number of the episode.", status.episode)
    edges = status.bucket_edges_us
    for name, meaning, counts, sum_us in (
        (
            *("period_error", "How late ticks began."),
            *(status.period_error_histogram, status.period_error_sum_us),
        ),
        (
            *("tick_work", "Processor time of ticks."),
            *(status.work_histogram, status.work_sum_us),
        ),
        (
            *("tick_span", "Elapsed time of ticks."),
            *(status.span_histogram, status.span_sum_us),
        ),
    ):
        yield _histogram(f"wombet_{name}_seconds", meaning, edges, counts, sum_us)
    yield from _sections(status)


def _modes(status: Status) -> Metric:
    family = GaugeMetricFamily("wombet_mode", "1 for the mode it is in.", labels=["mode"])
    for mode in Mode:
        family.add_metric([mode.name], float(mode.name == status.mode))
    return family


def _sections(status: Status) -> Iterator[Metric]:
    for clock, meaning in (("span", "Elapsed"), ("work", "Processor")):
        family = GaugeMetricFamily(
            f"wombet_section_{clock}_seconds",
            f"{meaning} time of a part of the tick, quantiles since the start.",
            labels=["section", "quantile"],
        )
        for section, timing in status.sections.items():
            summary = getattr(timing, f"{clock}_us")
            for quantile, field in _SHARES.items():
                family.add_metric([section, quantile], getattr(summary, field) * 1e-6)
        yield family


def _histogram(
    name: str, meaning: str, edges_us: Sequence[float], counts: Sequence[int], sum_us: float
) -> Metric:
    """Cumulative counts, in fewer buckets than we keep."""
    family, below = HistogramMetricFamily(name, meaning), 0
    buckets: list[tuple[str, float]] = []
    for index, edge_us in enumerate(edges_us):
        below += counts[index]
        if index % EDGES_PER_BUCKET == 0:
            buckets.append((f"{edge_us * 1e-6:.4g}", below))
    buckets.append(("+Inf", sum(counts)))
    family.add_metric([], buckets, sum_us * 1e-6)
    return family


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(f"wombet_{name}", meaning, value=value)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"wombet_{name}", meaning, value=value)


def _age_s(status: Status) -> float:
    return max(0, status.at_ns - status.mode_since_ns) * 1e-9
