"""The cold-start line: every phase of a boot with its seconds, for the log, for CloudWatch and for Prometheus.

The line follows the embedded metric format of CloudWatch: a log shipper makes metrics of what `_aws` names
(docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from cas.formats.printable import printable_json
from cas.local.process_start import spans_before
from worker.boot.messages import Failed, Restored, Step
from worker.log import logger

NAMESPACE = "model-cas"
_LONGEST = 1000  # characters of one text; CloudWatch takes 256 KiB a line


class Phases:
    """The phases of a boot so far, and how long each took; phases may overlap.

    Attributes:
        begun: when the boot began, in seconds of the machine's monotonic clock.
    """

    def __init__(self) -> None:
        """Begin the boot now."""
        self.begun = time.monotonic()
        self._lock = threading.Lock()
        self._steps: list[Step] = []

    @classmethod
    def of_process(cls) -> Phases:
        """Begin the boot now, with the starts of the container and of this process as phases before it."""
        phases = cls()
        phases.add(Step(*span) for span in spans_before(phases.begun))
        return phases

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Record a `with` block as a phase, with its seconds; safe to use from any thread."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.add([Step(name, begun, time.monotonic() - begun)])

    def add(self, steps: Iterable[Step], prefix: str = "") -> None:
        """Add phases that were timed elsewhere, such as in another process.

        Args:
            steps: the phases.
            prefix: put before each name.
        """
        with self._lock:
            self._steps += [Step(prefix + step.name, step.begun, step.seconds) for step in steps]

    def steps(self) -> list[Step]:
        """Return all phases in the order in which they began."""
        with self._lock:
            return sorted(self._steps, key=lambda step: step.begun)


def as_document(phases: Phases, result: Restored | Failed, *, model: str, deployment: str) -> dict[str, Any]:
    """Return what the cold-start line of a boot says.

    Args:
        phases: what was done until now.
        result: how the boot ended.
        model: name of the model.
        deployment: name of the deployment that the worker belongs to.
    """
    steps = phases.steps()
    seconds: dict[str, float] = {}
    for step in steps:
        name = f"seconds_{re.sub('[^a-z0-9]+', '_', step.name.lower())}"
        seconds[name] = round(seconds.get(name, 0.0) + step.seconds, 3)
    metrics: dict[str, float] = {"seconds_ready": round(time.monotonic() - phases.begun, 3), **seconds}
    units = dict.fromkeys(metrics, "Seconds")
    fields: dict[str, Any] = {"ok": isinstance(result, Restored), "fallback": result.fallback}
    if isinstance(result, Restored):
        counts = {f"bytes_{name}": getattr(result.bytes, name) for name in result.bytes.__struct_fields__}
        fetching = sum(step.seconds for step in result.steps if step.name == "fetch")
        rate = round(result.bytes.wire / fetching, 1) if fetching else 0.0
        metrics |= counts | {"rate_fetch": rate}
        units |= dict.fromkeys(counts, "Bytes") | {"rate_fetch": "Bytes/Second"}
        names = ("source", "where", "directory", "directory_reason", "version", "version_reason", "snapshots")
        fields |= {name: getattr(result, name) for name in names}
        if result.signed:
            fields["signed"] = dataclasses.asdict(result.signed)
        fields["files"] = {role: file.path for role, file in result.files.items()}
    else:
        fields |= {"exit_code": result.exit_code, "causes": _short(result.causes)}
    metrics |= {"warnings_count": len(result.warnings), "errors_count": len(result.errors)}
    units |= {"warnings_count": "Count", "errors_count": "Count"}
    return {
        "event": "cold-start",
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["deployment", "model"]],
                    # The format allows 100 in one directive.
                    "Metrics": [{"Name": name, "Unit": unit} for name, unit in list(units.items())[:100]],
                }
            ],
        },
        "deployment": deployment,
        "model": model,
        **fields,
        **metrics,
        "phases": [
            # Negative for what came before the boot: the start of the container and of this process.
            {"name": step.name, "at": round(step.begun - phases.begun, 3), "seconds": round(step.seconds, 3)}
            for step in steps
        ],
        "warnings": _short(result.warnings),
        "errors": _short(result.errors),
    }


def write_line(document: dict[str, Any], out: TextIO | None = None) -> None:
    """Write the document as one line.

    Args:
        document: as `as_document` returns it.
        out: where to; by default standard output.
    """
    stream = out or sys.stdout
    stream.write(printable_json(json.dumps(document, ensure_ascii=False)) + "\n")
    stream.flush()


def write_prometheus(document: dict[str, Any], file: Path) -> None:
    """Write the document as a text file for a node exporter's collector; the file appears whole.

    A file that cannot be written is a warning in the log, and no error.
    """
    labels = {name: document[name] for name in ("deployment", "model")}
    totals: dict[str, float] = {}
    for phase in document["phases"]:
        totals[phase["name"]] = totals.get(phase["name"], 0.0) + phase["seconds"]
    lines = [
        *_family("cas_worker_ready_seconds", "Seconds from the start of the boot to ready.", [({}, "seconds_ready")]),
        *_family("cas_worker_phase_seconds", "Seconds of each phase of the boot.", [
            ({"phase": name}, round(value, 3)) for name, value in totals.items()
        ]),
        *_family("cas_worker_bytes", "Bytes of the model by where they came from.", [
            ({"source": name.removeprefix("bytes_")}, name) for name in document if name.startswith("bytes_")
        ]),
        *_family("cas_worker_ok", "Whether the boot ended well.", [({}, int(document["ok"]))]),
    ]  # fmt: skip
    text = "".join(_sample(line, labels, document) for line in lines)
    private = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            # What a killed worker left, or anybody put there, is not written to.
            private.unlink(missing_ok=True)
            with private.open("x", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            private.replace(file)
        finally:
            private.unlink(missing_ok=True)
    except OSError as error:
        logger.warning(f"CAS_PROMETHEUS_FILE {file} cannot be written: {error.strerror}")


_Sample = tuple[str, dict[str, str], Any]


def _family(name: str, help_text: str, samples: list[tuple[dict[str, str], Any]]) -> list[str | _Sample]:
    head = f"# HELP {name} {help_text}\n# TYPE {name} gauge\n"
    return [head, *((name, labels, value) for labels, value in samples)] if samples else []


def _sample(line: str | _Sample, labels: dict[str, str], document: dict[str, Any]) -> str:
    if isinstance(line, str):
        return line
    name, own, value = line
    number = document[value] if isinstance(value, str) else value
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in {**labels, **own}.items())
    return f"{name}{{{pairs}}} {number}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _short(texts: Iterable[str]) -> list[str]:
    return [text[:_LONGEST] for text in texts]
