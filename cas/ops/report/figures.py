"""A report: all its figures as one value, which the page draws and `cas report --json` prints."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from cas.ops.report.advice import Advice, advice
from cas.ops.report.benchmark import Case
from cas.ops.report.failures import Cause, causes
from cas.ops.report.phases import UNNAMED
from cas.ops.report.spread import Group, Timeline, group, groups
from cas.ops.report.starts import Start
from cas.ops.report.stored import Stored
from cas.ops.report.traffic import Traffic, traffic

SHOWN = 60
"""Starts of each kind (slowest, newest, failed) that a report holds one by one."""


class Phase(msgspec.Struct, frozen=True):
    """One phase of a start that is shown.

    Attributes:
        name: of the phase.
        begun: seconds from the beginning of the start until the phase began.
        seconds: wall time.
    """

    name: str
    begun: float
    seconds: float


class ShownStart(msgspec.Struct, frozen=True, kw_only=True):
    """One start with its phases.

    Attributes:
        id: of its receipt, which `cas receipts show` takes.
        at: when it began, RFC 3339.
        version: `model@<12 hex>`.
        deployment: where the machine belongs.
        datacenter: where it stands.
        host: the pod, else the host's name.
        gpu: names of its GPUs.
        reason: why this version.
        seconds: wall time.
        error: class and message of the error; empty after a success.
        phases: by their beginnings.
        unnamed: seconds that no phase covers.
        sources: plain bytes by where they came from.
        wire: bytes that crossed the connection.
        kinds: why it is shown: `slowest`, `typical`, `newest`, `failed`.
    """

    id: str
    at: str
    version: str
    deployment: str
    datacenter: str
    host: str
    gpu: str
    reason: str
    seconds: float
    error: str
    phases: tuple[Phase, ...]
    unnamed: float
    sources: dict[str, int]
    wire: int
    kinds: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Every start of some time, and what the store holds.

    Attributes:
        store: URL or path of the store, with its endpoint.
        made: when the report was made, RFC 3339.
        since: how far back it goes, RFC 3339.
        about: the model or deployment that it is about; empty for all.
        unread: how many receipts cannot be read.
        unit: length of an interval of time: `day` or `hour`.
        intervals: when each interval begins, RFC 3339.
        all: all starts.
        groups: the starts by each dimension.
        bytes: where bytes came from.
        failures: by their causes.
        advice: what to fix, the most urgent first.
        starts: a choice of starts, one by one.
        stored: what the store holds; None where the report was asked not to look, or could not.
        benchmark: how long each client took on each connection; empty where no results were given.
    """

    store: str
    made: str
    since: str
    about: str
    unread: int
    unit: str
    intervals: tuple[str, ...]
    all: Group
    groups: dict[str, tuple[Group, ...]]
    bytes: Traffic
    failures: tuple[Cause, ...]
    advice: tuple[Advice, ...]
    starts: tuple[ShownStart, ...]
    stored: Stored | None
    benchmark: tuple[Case, ...]


def figures(
    starts: Sequence[Start],
    *,
    store: str,
    made: datetime.datetime,
    since: datetime.datetime,
    about: str = "",
    unread: int = 0,
    stored: Stored | None = None,
    benchmark: Sequence[Case] = (),
) -> Report:
    """Return the report about some starts.

    Args:
        starts: in any order.
        store: where they restored from.
        made: now.
        since: how far back they go.
        about: the model or deployment that they are of.
        unread: how many receipts cannot be read.
        stored: what the store holds.
        benchmark: the figures of a benchmark.
    """
    ordered = sorted(starts, key=lambda start: (start.at, start.id))
    timeline = Timeline(ordered)
    return Report(
        store=store,
        made=_text(made),
        since=_text(since),
        about=about,
        unread=unread,
        unit=timeline.unit,
        intervals=tuple(_text(beginning) for beginning in timeline.beginnings),
        all=group("all", ordered, timeline),
        groups=groups(ordered, timeline),
        bytes=traffic(ordered, timeline),
        failures=causes(ordered),
        advice=advice(ordered),
        starts=_shown(ordered),
        stored=stored,
        benchmark=tuple(benchmark),
    )


def _shown(ordered: Sequence[Start]) -> tuple[ShownStart, ...]:
    """The starts that are shown one by one, the slowest first."""
    ready = sorted((start for start in ordered if start.ok), key=lambda start: -start.seconds)
    middle = len(ready) // 2
    chosen = {
        "slowest": ready[:SHOWN],
        "typical": ready[max(0, middle - 2) : middle + 3],
        "newest": ordered[-SHOWN:],
        "failed": [start for start in ordered if not start.ok][-SHOWN:],
    }
    kinds: dict[str, list[str]] = {}
    for kind, some in chosen.items():
        for start in some:
            kinds.setdefault(start.id, []).append(kind)
    found = sorted((start for start in ordered if start.id in kinds), key=lambda start: -start.seconds)
    return tuple(_shown_start(start, tuple(kinds[start.id])) for start in found)


def _shown_start(start: Start, kinds: tuple[str, ...]) -> ShownStart:
    return ShownStart(
        id=start.id,
        at=_text(start.at),
        version=start.version,
        deployment=start.deployment,
        datacenter=start.datacenter,
        host=start.host,
        gpu=start.gpu,
        reason=start.reason,
        seconds=round(start.seconds, 3),
        error=": ".join(filter(None, (start.error, start.message))),
        phases=tuple(Phase(span.name, round(span.begun, 3), round(span.seconds, 3)) for span in start.spans),
        unnamed=round(start.by_phase.get(UNNAMED, 0.0), 3),
        sources=dict(start.sources),
        wire=start.wire,
        kinds=kinds,
    )


def _text(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
