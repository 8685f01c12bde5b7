"""Traces for OpenTelemetry: a real OTLP endpoint gets them, a bad one changes nothing, and none costs nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from cas import events
from cas.cli import tracing
from tests.support.in_process import call_cas
from tests.support.models import write_tree
from tests.support.otlp import Collector, values

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OTEL_", "TRACE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CAS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("CAS_DEPLOYMENT", "eu")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first trace of a process imports OpenTelemetry, which takes a busy machine longer than a user waits."""
    monkeypatch.setattr(tracing, "WITHIN", 60.0)


def publish(folder: Path, **env: str) -> Any:
    write_tree(folder / "weights", {"model.bin": os.urandom(100_000)})
    return call_cas("publish", "m", "--dir", str(folder / "weights"), "--as", "acme/m", env=env)


@pytest.mark.usefixtures("patient")
def test_a_publish_and_a_restore_are_one_trace_each(collector: Collector, tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACEPARENT": f"00-{TRACE}-{PARENT}-01"}
    assert publish(tmp_path, **env).returncode == 0
    published = collector.spans()
    assert collector.paths == ["/v1/traces"]
    assert {"cas publish", "upload"} <= set(published)
    collector.requests.clear()
    done = call_cas("restore", "m", env=env)
    assert (done.returncode, "no trace" in done.stderr) == (0, False)
    restored = collector.spans()
    whole = restored["cas restore"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    for name in ("resolve", "plan", "fetch", "link"):
        phase = restored[name]
        assert phase.parent_span_id == whole.span_id
        assert whole.start_time_unix_nano <= phase.start_time_unix_nano <= phase.end_time_unix_nano
        assert phase.end_time_unix_nano <= whole.end_time_unix_nano
    facts = values(whole)
    assert facts["cas.reference"].startswith("m@blake3:")
    assert (facts["cas.deployment"], facts["cas.bytes.total"], facts["cas.bytes.store"]) == ("eu", 100_000, 100_000)
    resource = {
        each.key: each.value.string_value for each in collector.requests[0].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "model-cas"


@pytest.mark.usefixtures("patient")
def test_an_operation_that_fails_says_why(collector: Collector, tmp_path: Path) -> None:
    publish(tmp_path)
    done = call_cas("restore", "m:none", env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    assert done.returncode == 3
    whole = collector.spans()["cas restore"]
    assert whole.status.code == Status.STATUS_CODE_ERROR
    assert whole.status.message.startswith("RefUnset: ")
    assert len(whole.trace_id) == 16 and not whole.parent_span_id


def test_an_endpoint_that_refuses_or_is_not_there_is_one_warning(collector: Collector, tmp_path: Path) -> None:
    publish(tmp_path)
    collector.status = 400
    collector_away = Collector()
    collector_away.server.shutdown()
    collector_away.server.server_close()
    for url in (collector.url, collector_away.url, "no url at all"):
        done = call_cas("restore", "m", env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        assert done.returncode == 0
        (warning,) = (line for line in done.stderr.splitlines() if "warning" in line)
        assert warning.startswith("warning: no trace was sent: ")


def test_what_is_switched_off_sends_nothing(collector: Collector, tmp_path: Path) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    publish(tmp_path)
    for env in (
        {},
        {**endpoint, "OTEL_SDK_DISABLED": "true"},
        {**endpoint, "OTEL_TRACES_EXPORTER": "none"},
        {**endpoint, "TRACEPARENT": f"00-{TRACE}-{PARENT}-00"},  # the parent is not recorded
    ):
        done = call_cas("restore", "m", env=env)
        assert (done.returncode, "trace" in done.stderr) == (0, False)
    assert collector.requests == []


def test_who_interrupts_an_operation_does_not_wait_for_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "send", lambda *_: pytest.fail("it was sent"))
    with pytest.raises(KeyboardInterrupt), tracing.traced("cas restore", events.ignore):
        raise KeyboardInterrupt


def test_without_the_extra_nothing_is_sent_and_nothing_fails(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path)
    for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.sdk.resources"):
        monkeypatch.setitem(sys.modules, name, None)
    done = call_cas("restore", "m", env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    assert (done.returncode, "trace" in done.stderr, collector.requests) == (0, False, [])
