"""The trace of a boot, for OpenTelemetry."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from tests.support.otlp import Collector, values
from tests.worker.station import AWAY, Station


def test_a_boot_is_a_trace_and_so_is_one_that_fails(station: Station) -> None:
    station.publish()
    collector = Collector()
    ran = station.boot(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, CAS_DEPLOYMENT="eu")
    station.check(ran)
    spans = collector.spans()
    assert {"cold start", "settings", "wait", "restore.fetch"} <= set(spans)
    facts = values(spans["cold start"])
    assert (facts["cas.version"], facts["cas.deployment"]) == (ran.receipt["version"], "eu")
    assert facts["cas.bytes.fetched"] == ran.receipt["bytes_fetched"]
    collector.requests.clear()
    elsewhere = str(station.folder / "elsewhere")
    failed = station.boot(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, CAS_STORE=AWAY, CAS_FALLBACK="none", CAS_CACHE_DIRS=elsewhere
    )
    assert failed.code != 0
    assert collector.spans()["cold start"].status.message == "; ".join(failed.receipt["causes"])
    collector.server.shutdown()
    collector.server.server_close()
