"""The trace of a boot, for OpenTelemetry: where an endpoint is named, and the extra `otel` is in the image."""

from __future__ import annotations

import threading
import time
from typing import Any

from cas.events import Span
from cas.host import traces_wanted
from worker.boot.cold_start import Phases
from worker.log import logger

_AFTER_FAILURE = 5.0  # seconds; the process ends soon
_sending: list[threading.Thread] = []
_OF_LINE = ("source", "directory", "version", "version_reason", "fallback", "device")


def send(document: dict[str, Any], phases: Phases) -> None:
    """Begin to send what the cold-start line of a boot says as a trace; a boot that failed waits for it.

    Args:
        document: what the line says.
        phases: those of the boot.
    """
    if not traces_wanted():
        return
    ended = time.monotonic()
    spans = [Span(step.name, step.begun, step.seconds) for step in phases.steps()]
    begun = min([phases.begun, *(span.begun for span in spans)])
    attributes = {f"cas.{name}": document[name] for name in _OF_LINE if document.get(name)}
    attributes |= {f"cas.bytes.{name[6:]}": size for name, size in document.items() if name.startswith("bytes_")}
    failure = "" if document["ok"] else "; ".join(document["causes"])

    def work() -> None:
        from cas.cli import tracing

        whole = Span("cold start", begun, ended - begun)
        if problem := tracing.send(whole, spans, {"cas.model": document["model"], **attributes}, failure):
            logger.warning(f"no trace was sent: {problem}")

    _sending.append(threading.Thread(target=work, name="trace", daemon=True))
    _sending[-1].start()
    if failure:
        settle(_AFTER_FAILURE)


def settle(within: float) -> None:
    """Wait for a trace that is on its way, for some seconds at most: a process that ends now would not send it."""
    for thread in _sending:
        thread.join(within)
