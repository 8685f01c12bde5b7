"""The form of a receipt: the document about one restore, or about the boot that it was part of.

`cas/ops/restore/receipts.py` writes receipts, and `receipts.py` beside this file reads them. Phases that a program adds
later (`cas.phase`) are documents of their own beside the receipt; a reader joins them.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec

from cas.events import SignedEntry, Span
from cas.formats.digest import parse
from cas.formats.manifest import DigestName, Name, Time
from cas.formats.typed_json import JsonFormat
from cas.host import Host
from cas.store.fetch import Second
from cas.store.layout import receipt_key

MAX_SIZE = 1 << 20
"""Bytes that a receipt, or a document with later phases, may have."""


# What a century does not reach: sums and differences of such numbers are finite.
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=-4e9, le=4e9)]


# More than any store holds, and few enough that sums of them are numbers of every kind.
_LARGEST = 1 << 60
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
_YEARS = range(1970, 3000)

MOST_PHASES = 2000
"""Phases of one receipt, those that programs added included: what a reader lays out grows with their square."""


class PhaseTime(msgspec.Struct, frozen=True):
    """One phase of a restore or a boot; several phases may have one name, and phases may overlap.

    Attributes:
        name: such as `fetch`.
        seconds: wall time.
        begun: seconds from the receipt's `when` until the phase began; negative for what came before the restore. None
            in the receipts of version 0.1.0.
    """

    name: str
    seconds: Seconds
    begun: Seconds | None = None


Phases: TypeAlias = Annotated[tuple[PhaseTime, ...], msgspec.Meta(max_length=MOST_PHASES)]


class Interval(NamedTuple):
    """When a phase was under way, in seconds after the receipt's `when`."""

    name: str
    begun: float
    ended: float


class Bytes(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bytes of the files came from; plain bytes, but for `wire`.

    Attributes:
        total: of all files.
        present: bytes that were not moved: they were verified before, or occur in the version twice. None after a
            failure.
        fetched: from the store, or what stands for it.
        source: where those were asked for first: `store`, `CDN` (CAS_READ_URL) or `mirror`; empty in version 0.1.0.
        wire: bytes that crossed the connection for them.
        reused: copied from other files on this machine.
        reused_from: the same, by the seed in which the files were found, or the address of the hub from which a boot
            downloaded them; empty after a failure.
    """

    total: Size
    present: Size | None
    fetched: Size
    wire: Size
    reused: Size
    reused_from: dict[str, Size] = {}
    source: str = ""


class Failure(msgspec.Struct, frozen=True, rename={"kind": "class"}):
    """Why a restore failed.

    Attributes:
        kind: the class of the error (`class` in JSON).
        message: of the error.
    """

    kind: str
    message: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One restore, or the boot that it was part of.

    Attributes:
        version: of this format.
        manifest: `blake3:<64 hex>`, the version that was restored.
        model: the name under which it is published.
        deployment: where this machine belongs; see `cas.host.deployment`.
        reason: why this version, in words.
        directory: where a boot restored it to; empty for a restore of its own.
        directory_reason: why there, in words.
        fallback: what might have stood in for the store in a boot: `bytes`, `hub` or `none`; else empty.
        signed: the entry of a ref that named the version and was verified. Absent where no keys are trusted, or no ref
            was read.
        when: when it began, UTC.
        seconds: wall time from then until what was restored could be used.
        ok: whether it succeeded.
        error: why it failed, None when it succeeded.
        changed: False when every file was complete and verified before; None after a failure.
        phases: the phases of the restore, and after them those of the boot.
        bytes: where the bytes came from.
        second_requests: requests for chunks whose first body was far behind; None after a failure.
        rate: bytes a second that crossed the connection during the phases `fetch`.
        host: this machine.
        versions: of the software, by package.
    """

    version: Literal[1] = 1
    manifest: DigestName
    model: Name
    deployment: Name
    reason: str
    directory: str = ""
    directory_reason: str = ""
    fallback: str = ""
    signed: SignedEntry | msgspec.UnsetType = msgspec.UNSET
    when: Time
    seconds: Seconds
    ok: bool
    error: Failure | None = None
    changed: bool | None = None
    phases: Phases
    bytes: Bytes
    second_requests: Second | None = None
    rate: Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)]
    host: Host
    versions: dict[str, str]

    def __post_init__(self) -> None:
        # What is no time of our days ends no reader of all receipts: this one is malformed.
        if datetime.datetime.fromisoformat(self.when).year not in _YEARS:
            raise ValueError(f"{self.when} is out of range")
        second = self.second_requests or Second()
        if not all(0 <= count <= _LARGEST for count in (second.requests, second.won, second.bytes)):
            raise ValueError("second_requests are out of range")

    def key(self) -> str:
        """Return a new key to store the receipt under; the collector reads the manifest's digest from the key."""
        return receipt_key(self.deployment, self.when, parse(self.manifest), os.urandom(8).hex())

    def intervals(self) -> tuple[Interval, ...]:
        """Return when each phase was under way, in the order of their beginnings.

        Phases without a beginning (version 0.1.0 wrote none) are laid end to end from `when` on.
        """
        found, at = [], 0.0
        for phase in self.phases:
            begun = at if phase.begun is None else phase.begun
            found.append(Interval(phase.name, begun, begun + max(0.0, phase.seconds)))
            at = found[-1].ended if phase.begun is None else at
        return tuple(sorted(found, key=lambda one: (one.begun, -one.ended)))

    @property
    def began(self) -> float:
        """Seconds after `when` at which the start began: 0, or less where phases came before the restore."""
        return min([0.0, *(interval.begun for interval in self.intervals())])

    @property
    def ended(self) -> float:
        """Seconds after `when` at which the last phase ended, or what was restored could be used, whatever is later."""
        return max([self.seconds, *(interval.ended for interval in self.intervals())])

    @property
    def wall(self) -> float:
        """Seconds from the beginning of the start to its end, all that is known of it."""
        return self.ended - self.began

    @property
    def named(self) -> float:
        """Seconds of `wall` that some phase covers; the rest has no name."""
        return covered(self.intervals())


class LaterPhases(msgspec.Struct, frozen=True, kw_only=True):
    """Phases that a program added to a receipt after it was written, each document with all phases of that program.

    Attributes:
        version: of this format.
        phases: their beginnings count from the receipt's `when`.
    """

    version: Literal[1] = 1
    phases: Phases


RECEIPTS = JsonFormat[Receipt](Receipt)
LATER_PHASES = JsonFormat[LaterPhases](LaterPhases)


def phase_time(span: Span, when: float) -> PhaseTime:
    """Return a phase as a receipt says it. when: the receipt's beginning, by the machine's monotonic clock."""
    return PhaseTime(span.name, round(span.seconds, 6), round(span.begun - when, 6))


def covered(intervals: Iterable[Interval]) -> float:
    """Return how many seconds some interval covers, those that several cover once.

    Args:
        intervals: in the order of their beginnings.
    """
    total, end = 0.0, float("-inf")
    for interval in intervals:
        total += max(0.0, interval.ended - max(interval.begun, end))
        end = max(end, interval.ended)
    return total
