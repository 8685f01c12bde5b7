"""Starts for tests: one whose fields a test sets, and those of a made-up fleet."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

from cas.ops.report.phases import Span
from cas.ops.report.starts import Start, start_of
from tools import fleet

NOW = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC)

_PLAIN = Start(
    id="0" * 16,
    at=NOW,
    version="m@aaaaaaaaaaaa",
    digest="a" * 64,
    deployment="eu",
    datacenter="EU-1",
    host="pod-1",
    gpu="NVIDIA L4",
    reason="because",
    seconds=4.0,
    error="",
    message="",
    spans=(Span("fetch", 0.0, 4.0),),
    total=1000,
    sources={"store": 1000},
    wire=800,
    twice=0,
    second_requests=0,
    won=0,
)


def start(number: int = 0, **changes: object) -> Start:
    """A start of four seconds in which 1,000 bytes are fetched; `number` minutes after the first one.

    Args:
        number: gives it an id and a time.
        changes: other values of its fields.
    """
    at = NOW + datetime.timedelta(minutes=number)
    return dataclasses.replace(_PLAIN, **{"id": f"{number:016x}", "at": at, **changes})  # type: ignore[arg-type]


def of_fleet(count: int = 400) -> Sequence[Start]:
    """The starts of a made-up fleet."""
    return [start_of(f"{number:016x}", one) for number, one in enumerate(fleet.receipts(count, until=NOW))]
