"""Starts: what a report keeps of each receipt, small enough for ten thousand of them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from cas.formats.digest import SHORT, parse
from cas.ops.report.phases import Span, seconds_by_phase
from cas.store.receipt import Receipt

UNKNOWN = "not told"
"""Stands for a datacenter that a receipt does not name."""

DIMENSIONS: Mapping[str, Callable[[Start], str]] = {
    "version": lambda start: start.version,
    "deployment": lambda start: start.deployment,
    "datacenter": lambda start: start.datacenter,
    "host": lambda start: start.host,
    "gpu": lambda start: start.gpu,
    "cold or warm": lambda start: start.temperature,
}
"""What starts are grouped by: the name of each dimension, and what gives the group of a start."""


@dataclass(frozen=True)
class Start:
    """One restore, or the boot that it was part of.

    Attributes:
        id: of its receipt, as `cas receipts` prints it.
        at: when it began, UTC.
        version: `model@<12 hex>`.
        digest: of the version, 64 hex.
        deployment: where the machine belongs.
        datacenter: where it stands, `not told` without one.
        host: the pod, else the host's name.
        gpu: names of its GPUs, `no GPU` without one.
        reason: why this version.
        seconds: wall time until the model could be used.
        error: class of the error; empty after a success.
        message: of the error.
        spans: its phases, by their beginnings.
        total: bytes of all files of the version.
        sources: plain bytes by where they came from.
        wire: bytes that crossed the connection.
        twice: bytes that arrived twice, as a chunk was asked for again.
        second_requests: how many chunks were asked for again.
        won: how many of these requests were the faster ones.
    """

    id: str
    at: datetime.datetime
    version: str
    digest: str
    deployment: str
    datacenter: str
    host: str
    gpu: str
    reason: str
    seconds: float
    error: str
    message: str
    spans: tuple[Span, ...]
    total: int
    sources: Mapping[str, int]
    wire: int
    twice: int
    second_requests: int
    won: int

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return not self.error

    @cached_property
    def by_phase(self) -> dict[str, float]:
        """Its seconds by phase, each second counted once."""
        return seconds_by_phase(self.spans, self.seconds)

    @property
    def fetching(self) -> float:
        """Seconds of its phases `fetch`."""
        return sum(span.seconds for span in self.spans if span.name == "fetch")

    @property
    def temperature(self) -> str:
        """`cold` when bytes were moved, `warm` when all were there, and `failed`."""
        if not self.ok:
            return "failed"
        return "cold" if any(size for source, size in self.sources.items() if source != "present") else "warm"


def start_of(identity: str, receipt: Receipt) -> Start:
    """Return what a report keeps of a receipt.

    Args:
        identity: of the receipt.
        receipt: the document.
    """
    digest = parse(receipt.manifest)
    counted, second, began = receipt.bytes, receipt.second_requests, receipt.began
    hub = sum(size for seed, size in counted.reused_from.items() if seed.startswith(("https://", "http://")))
    sources = {
        counted.source if counted.source in ("CDN", "mirror") else "store": counted.fetched,
        "hub": hub,
        "this machine": counted.reused - hub,
        "present": counted.present or 0,
    }
    return Start(
        id=identity,
        at=datetime.datetime.fromisoformat(receipt.when) + datetime.timedelta(seconds=began),
        version=f"{receipt.model}@{digest[:SHORT]}",
        digest=digest,
        deployment=receipt.deployment,
        datacenter=receipt.host.datacenter or UNKNOWN,
        host=receipt.host.pod or receipt.host.hostname,
        gpu=_gpus(receipt.host.gpus),
        reason=receipt.reason,
        # Without beginnings (version 0.1.0) phases that overlapped are laid end to end, longer than the start was.
        seconds=receipt.wall if any(phase.begun is not None for phase in receipt.phases) else receipt.seconds,
        error="" if receipt.ok else (receipt.error.kind if receipt.error else "Error"),
        message=receipt.error.message if receipt.error and not receipt.ok else "",
        spans=tuple(Span(each.name, each.begun - began, each.ended - each.begun) for each in receipt.intervals()),
        total=counted.total,
        sources={source: size for source, size in sources.items() if size},
        wire=counted.wire,
        twice=second.bytes if second else 0,
        second_requests=second.requests if second else 0,
        won=second.won if second else 0,
    )


def _gpus(names: tuple[str, ...]) -> str:
    """The GPUs of a machine in one text: `8 x NVIDIA H200`."""
    if not names:
        return "no GPU"
    kinds = {name: names.count(name) for name in names}
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in kinds.items())
