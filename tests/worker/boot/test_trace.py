"""The trace of a boot, for OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from tests.support.otlp import Collector, values
from tests.worker.station import AWAY, Ran, Station


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def traced(station: Station, collector: Collector, **env: str) -> Ran:
    """Boot into an empty directory until a trace has come: a busy machine may need more time than sending is given."""
    for attempt in range(5):
        collector.requests.clear()
        directory = str(station.folder / f"{len(env)}-{attempt}")
        ran = station.boot(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, CAS_CACHE_DIRS=directory, **env)
        if collector.requests:
            break
    return ran


def test_a_boot_is_a_trace_and_so_is_one_that_fails(station: Station, collector: Collector) -> None:
    station.publish()
    ran = traced(station, collector, CAS_DEPLOYMENT="eu")
    station.check(ran)
    spans = collector.spans()
    assert {"cold start", "settings", "wait", "restore.fetch"} <= set(spans)
    facts = values(spans["cold start"])
    assert (facts["cas.version"], facts["cas.deployment"]) == (ran.receipt["version"], "eu")
    assert facts["cas.bytes.fetched"] == ran.receipt["bytes_fetched"]
    failed = traced(station, collector, CAS_STORE=AWAY, CAS_FALLBACK="none")
    assert failed.code != 0
    assert collector.spans()["cold start"].status.message == "; ".join(failed.receipt["causes"])
