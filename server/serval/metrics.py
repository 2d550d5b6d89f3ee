"""The metrics of the control plane; the data plane has those of predictions."""

import time
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from serval import __version__
from serval.process_metrics import ProcessMetrics

# The library would write a `_created` gauge beside each counter and histogram.
disable_created_metrics()  # type: ignore[no-untyped-call]

RequestSamples = Iterable[tuple[str, str, int, int]]
"""(method, route, status, count) of requests."""
SECONDS_BUCKETS = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
)
BYTES_BUCKETS = (128, 512, 2048, 8192, 32768, 131072, 1 << 20, 8 << 20, 64 << 20, 512 << 20)


class RequestCounter(Collector):
    """HTTP requests by method, route and status: those that the app answered, and those of the front."""

    def __init__(self) -> None:
        self.front: Callable[[], RequestSamples] = tuple
        """Reads what the front has answered by itself."""
        self._counts: Count[tuple[str, str, int]] = Count()

    def add(self, method: str, route: str, status: int) -> None:
        """Count a request that the app has answered."""
        self._counts[method, route, status] += 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        counts = self._counts.copy()
        for method, route, status, count in self.front():
            counts[method, route, status] += count
        family = CounterMetricFamily(
            "serval_http_requests_total",
            "Requests on the public port that were answered, by method, route and status.",
            labels=("method", "route", "status"),
        )
        for (method, route, status), count in sorted(counts.items()):
            family.add_metric((method, route, str(status)), count)
        yield family


class HttpMetrics:
    """HTTP requests, by route."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = RequestCounter()
        registry.register(self.requests)
        self._seconds = Histogram(
            "serval_http_request_seconds",
            "Time from a request's head to the end of its answer, of requests that reached the app.",
            ("route",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._received = Histogram(
            "serval_http_request_bytes",
            "Size of request bodies that reached the app.",
            ("route",),
            buckets=BYTES_BUCKETS,
            registry=registry,
        )
        self._sent = Histogram(
            "serval_http_response_bytes",
            "Size of answer bodies that the app sent.",
            ("route",),
            buckets=BYTES_BUCKETS,
            registry=registry,
        )
        self._in_progress = Gauge(
            "serval_http_requests_in_progress", "HTTP requests that the app is answering.", registry=registry
        )

    def in_progress(self) -> AbstractContextManager[None]:
        """Count a request as in progress while the block lasts."""
        return self._in_progress.track_inprogress()

    def count(self, method: str, route: str, status: int, seconds: float, received_bytes: int, sent_bytes: int) -> None:
        """Count an answered request. `route`: its template, never its path."""
        self.requests.add(method, route, status)
        self._seconds.labels(route).observe(seconds)
        self._received.labels(route).observe(received_bytes)
        self._sent.labels(route).observe(sent_bytes)


class ConversionMetrics:
    """Conversions of uploads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ended = Counter(
            "serval_conversions",
            "Conversions that ended, by outcome: `ready` or the code of the error.",
            ("outcome",),
            registry=registry,
        )
        self.seconds = Histogram(
            "serval_conversion_seconds",
            "Time from the start of a conversion to its end.",
            buckets=(0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320),
            registry=registry,
        )


class HistoryMetrics:
    """Predictions of the history."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.written = Counter("serval_history_written", "Predictions written to the database.", registry=registry)
        self.lost = Counter(
            "serval_history_lost",
            "Predictions not written, because the database was unavailable for too long or refused them.",
            registry=registry,
        )


class Gauges(Collector):
    """Gauges that are read at each scrape."""

    def __init__(self) -> None:
        self._read: list[tuple[str, str, Callable[[], float]]] = []

    def add(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        self._read.append((name, documentation, read))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, documentation, read in self._read:
            yield GaugeMetricFamily(name, documentation, value=read())


class Metrics:
    """The registry and its metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.http = HttpMetrics(self._registry)
        self.conversions = ConversionMetrics(self._registry)
        self.history = HistoryMetrics(self._registry)
        self.changes = Counter(
            "serval_changes",
            "Changes of other serving processes that were applied, by kind.",
            ("kind",),
            registry=self._registry,
        )
        self.redis_failures = Counter(
            "serval_redis_failures",
            "Failed Redis calls, by use.",
            ("use",),
            registry=self._registry,
        )
        self.audit_entries = Counter(
            "serval_audit_entries",
            "Entries of the audit trail written, by action and outcome.",
            ("action", "outcome"),
            registry=self._registry,
        )
        self.gauges = Gauges()
        self._registry.register(self.gauges)
        self._registry.register(ProcessMetrics())
        started = time.monotonic()
        self.gauges.add(
            "serval_uptime_seconds", "Time since the serving process started.", lambda: time.monotonic() - started
        )
        build = Gauge("serval_build_info", "The version that is running.", ("version",), registry=self._registry)
        build.labels(__version__).set(1)

    def render(self) -> bytes:
        """Return all metrics as Prometheus text."""
        return generate_latest(self._registry)


def count_connections(port: int) -> int:
    """Return the number of established TCP connections to a local port, as the kernel counts them."""
    suffix = f":{port:04X}"
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        path = Path(table)
        if path.exists():
            fields = (line.split() for line in path.read_text().splitlines()[1:])
            count += sum(1 for parts in fields if parts[1].endswith(suffix) and parts[3] == "01")
    return count
