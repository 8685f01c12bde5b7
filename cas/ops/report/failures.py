"""Starts that failed, by their causes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from cas.ops.report.starts import Start

_EXAMPLES = 3  # deployments and hosts that are named
_LONGEST = 400  # characters of a message

# What differs between two messages of one cause: digests, numbers, and what stands in quotes.
_DIGITS = re.compile(r"[0-9a-f]{8,}|[0-9]+(?:\.[0-9]+)?")


class Cause(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "class"}):
    """Failures with one cause.

    Attributes:
        kind: class of the error (`class` in JSON).
        message: of the newest of them.
        starts: how many.
        seconds: wall time that they took until they failed, in all.
        first: when the first of them began, RFC 3339.
        last: when the newest did.
        deployments: where, a few.
        hosts: on which machines, a few.
    """

    kind: str
    message: str
    starts: int
    seconds: float
    first: str
    last: str
    deployments: tuple[str, ...]
    hosts: tuple[str, ...]


def causes(starts: Sequence[Start]) -> tuple[Cause, ...]:
    """Return the causes of the starts that failed, the most frequent first.

    Failures have one cause when their errors are of one class and their messages differ only in digests and numbers.

    Args:
        starts: oldest first.
    """
    found: dict[tuple[str, str], list[Start]] = defaultdict(list)
    for start in starts:
        if not start.ok:
            found[start.error, _DIGITS.sub("#", start.message)].append(start)
    return tuple(sorted((_cause(failed) for failed in found.values()), key=lambda cause: -cause.starts))


def _cause(failed: Sequence[Start]) -> Cause:
    return Cause(
        kind=failed[-1].error,
        message=failed[-1].message[:_LONGEST],
        starts=len(failed),
        seconds=round(sum(start.seconds for start in failed), 1),
        first=failed[0].at.isoformat(timespec="seconds"),
        last=failed[-1].at.isoformat(timespec="seconds"),
        deployments=tuple(sorted({start.deployment for start in failed})[:_EXAMPLES]),
        hosts=tuple(sorted({start.host for start in failed})[:_EXAMPLES]),
    )
