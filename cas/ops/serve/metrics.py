"""What the server counts, in the text format of Prometheus. No name of a repo, file or caller is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cas.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "cas_serve_"


class Metrics:
    """The counters of one server.

    Attributes:
        requests: answered requests, by route and status.
        sent: bytes of files that were sent, by where they were when the request came: `store` or `upstream`.
        sending: files that are being sent.
        cut: connections that were closed before their answer was complete, by reason.
        upstream_requests: requests to the upstream hub, by outcome: a status, or `unreachable`.
        upstream_bytes: bytes of files that the upstream hub sent.
        pulled: versions that were published from the upstream hub, by outcome: `ok` or `failed`.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter, which tells when it began
        self._registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answered requests.", "route", "status")
        self.sent = self._counter("sent_bytes", "Bytes of files that were sent.", "source")
        self.sending = Gauge(f"{_PREFIX}sending_files", "Files that are being sent.", registry=self._registry)
        self.cut = self._counter("cut_connections", "Connections closed before their answer was complete.", "reason")
        self.upstream_requests = self._counter("upstream_requests", "Requests to the upstream hub.", "outcome")
        self.upstream_bytes = self._counter("upstream_bytes", "Bytes of files that the upstream hub sent.")
        self.pulled = self._counter("upstream_publishes", "Publishes of what the upstream hub sent.", "outcome")
        program = Gauge(f"{_PREFIX}info", "The program.", ["version"], registry=self._registry)
        program.labels(__version__).set(1)

    def count_upstream(self, outcome: str) -> None:
        """Count a request to the upstream hub."""
        self.upstream_requests.labels(outcome).inc()

    def count_cut(self, reason: str) -> None:
        """Count a connection that is cut or refused."""
        self.cut.labels(reason).inc()

    def add_source(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Show counts that another part of the server keeps.

        Args:
            read: returns them by name; those that end in `_total` only grow.
        """
        self._registry.register(_Counts(read))

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, what, labels, registry=self._registry)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)


class _Counts:
    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for name, value in self._read().items():
            if name.endswith("_total"):
                yield CounterMetricFamily(f"{_PREFIX}{name.removesuffix('_total')}", "Of the cache.", value)
            else:
                yield GaugeMetricFamily(f"{_PREFIX}{name}", "Of the cache.", value)
