"""OpenTelemetry: a trace of a publish, a restore or a worker's boot, for an OTLP endpoint over HTTP (extra `otel`).

    the operation runs; only its phases are noted
    at its end, one span for it and one for each phase are made, and sent in one request

So what an endpoint does costs no operation anything but a few seconds at its end, and fails none. Nothing of it is
imported where OTEL_EXPORTER_OTLP_ENDPOINT is not set (`traces_wanted`), or the extra is not installed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cas import config, events, host
from cas.events import Span
from cas.local.process_start import spans_before
from cas.parallel import BackgroundCall
from cas.version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan

WITHIN = 3.0
"""Seconds that sending may take."""

Value = str | int | float | bool


@contextlib.contextmanager
def traced(name: str, listen: events.Listener) -> Iterator[events.Listener]:
    """Send the trace of an operation at the end of a `with` block.

    Args:
        name: of the operation, such as `cas restore`.
        listen: hears what the operation reports, and a warning when the trace could not be sent.

    Yields:
        The listener for the operation.
    """
    notes = _Notes(listen)
    try:
        yield notes.listen
    except Exception as error:  # who interrupts does not want to wait for the trace
        notes.end(name, error)
        raise
    notes.end(name, None)


class _Notes:
    """What an operation reports: its phases and their bytes."""

    def __init__(self, listen: events.Listener) -> None:
        self._listen = listen
        self._begun = time.monotonic()
        self._before = spans_before(self._begun)
        self._phases: list[tuple[str, float]] = []
        self._attributes: dict[str, Value] = {}
        self._lock = threading.Lock()

    def listen(self, event: events.Event) -> None:
        with self._lock:
            match event:
                case events.Phase(name):
                    self._phases.append((name, time.monotonic()))
                case events.Resolved(reference, total):
                    self._attributes |= {"cas.reference": reference, "cas.bytes.total": total}
                case events.Moved(plain, wire, source):
                    moved = ((f"cas.bytes.{source}", plain), ("cas.bytes.wire", wire))
                    self._attributes |= {key: int(self._attributes.get(key, 0)) + size for key, size in moved if size}
        self._listen(event)

    def end(self, name: str, error: BaseException | None) -> None:
        ended = time.monotonic()
        ends = [*(begun for _, begun in self._phases), ended][1:]
        phases = [Span(phase, at, end - at) for (phase, at), end in zip(self._phases, ends, strict=True)]
        begun = min([self._begun, *(span.begun for span in self._before)])
        failure = _described(error) if error else ""
        whole = Span(name, begun, ended - begun)
        if problem := send(whole, (*self._before, *phases), self._attributes, failure):
            self._listen(events.Warned(f"no trace was sent: {problem}"))


def send(whole: Span, phases: Sequence[Span], attributes: Mapping[str, Value], failure: str = "") -> str:
    """Send the trace of an operation that is over; return why that failed, and nothing where it did not.

    The parent is what TRACEPARENT and TRACESTATE say. Without the extra nothing is sent, and that is no failure.

    Args:
        whole: the operation.
        phases: its phases.
        attributes: of the operation.
        failure: class and message of the error that ended it; empty when it succeeded.
    """
    try:
        sending = BackgroundCall(lambda: _export(_spans(whole, phases, attributes, failure)))
        if not sending.ends_within(WITHIN):
            return f"the endpoint did not take it in {WITHIN:g} s"
        return sending.result()
    except ImportError:
        return ""
    except Exception as error:
        return type(error).__name__  # its message may hold the endpoint's headers


def _spans(
    whole: Span, phases: Sequence[Span], attributes: Mapping[str, Value], failure: str
) -> tuple[ReadableSpan, ...]:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import StatusCode, set_span_in_context

    own = {"service.version": __version__}
    if not config.read("OTEL_SERVICE_NAME") and "service.name=" not in config.read("OTEL_RESOURCE_ATTRIBUTES"):
        own["service.name"] = "model-cas"
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    made = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(made))
    tracer = provider.get_tracer("model-cas", __version__)
    offset = time.time_ns() - time.monotonic_ns()

    def at(seconds: float) -> int:
        return int(seconds * 1e9) + offset

    root = tracer.start_span(
        whole.name,
        _parent(),
        start_time=at(whole.begun),
        attributes={"cas.deployment": host.deployment(), **attributes},
    )
    inside = set_span_in_context(root)
    for phase in phases:
        span = tracer.start_span(phase.name, inside, start_time=at(phase.begun))
        span.end(at(phase.begun + phase.seconds))
    if failure:
        root.set_status(StatusCode.ERROR, failure)
    root.end(at(whole.begun + whole.seconds))
    return made.get_finished_spans()


def _parent() -> Context:
    """Return the context that TRACEPARENT names; one of its own where it is not set, or malformed."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carried = {name: config.read(name.upper()) for name in ("traceparent", "tracestate")}
    return TraceContextTextMapPropagator().extract({name: value for name, value in carried.items() if value})


def _export(spans: Sequence[ReadableSpan]) -> str:
    import logging

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it logs tracebacks; one warning says it
    if not spans:  # the parent says that nothing is to be recorded
        return ""
    result = OTLPSpanExporter(timeout=WITHIN).export(spans)
    return "" if result is SpanExportResult.SUCCESS else "the endpoint of OTEL_EXPORTER_OTLP_ENDPOINT did not take it"


def _described(error: BaseException) -> str:
    """Return an error's class, with the message of one of ours: that of another may hold secrets."""
    from cas.errors import CasError

    return f"{type(error).__name__}: {error}" if isinstance(error, CasError) else type(error).__name__
