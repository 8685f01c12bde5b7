"""What the store holds: its size, what versions share, how it grew, what the collector would free, and what it costs.

These are the figures of `cas du` and of `cas gc -n`, which a report puts beside the starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cas import events, host
from cas.errors import AccessDenied, CasError
from cas.formats.digest import SHORT
from cas.ops.gc.collector import gc
from cas.ops.inspect.usage import Usage, usage
from cas.ops.report.prices import Price, price_list
from cas.store.store import Store

MOST = 30
"""Versions that a report lists, those that take up the most."""


class StoredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a version takes up in the store.

    Attributes:
        version: `model@<12 hex>`.
        names: the tags and pins that name it, in words.
        created: when it was made, RFC 3339.
        plain: bytes of its files.
        own: bytes in the store that only it needs.
        shared: bytes in the store that other versions need, too.
    """

    version: str
    names: str
    created: str
    plain: int
    own: int
    shared: int


class Growth(msgspec.Struct, frozen=True):
    """How many bytes of chunks the store held at the end of a day, of those that it holds now.

    Attributes:
        day: yyyy-mm-dd, UTC.
        stored: bytes.
    """

    day: str
    stored: int


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What the store costs a month by one price list, in dollars.

    Attributes:
        price: the price list.
        storage: for all chunks that the store holds.
        freed: how much of that the collector would save.
        egress: for the bytes that crossed the connection in the time of the report, as much again every month of 30
            days; None where the price list does not tell.
    """

    price: Price
    storage: float
    freed: float
    egress: float | None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What the store holds.

    Attributes:
        plain: bytes of the files of all versions.
        stored: bytes of the chunks that versions need.
        shared: bytes of the files that sharing saves: plain bytes less those of distinct chunks.
        unneeded: bytes of chunks that no version needs.
        superseded: bytes of overwritten and deleted objects that the bucket keeps; None where this key may not tell.
        freed: bytes that the collector would mark for deletion or delete, by `cas gc -n`; None where it could not tell.
        freed_versions: how many versions these are.
        count: how many versions the store has.
        chunks: how many chunks they need.
        versions: the largest of them.
        growth: one for each day on which chunks were written.
        costs: by each known price list.
    """

    plain: int
    stored: int
    shared: int
    unneeded: int
    superseded: int | None
    freed: int | None
    freed_versions: int
    count: int
    chunks: int
    versions: tuple[StoredVersion, ...]
    growth: tuple[Growth, ...]
    costs: tuple[Cost, ...]


def read_stored(
    store: Store,
    *,
    price: float | None = None,
    wire_a_month: float = 0.0,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Stored:
    """Return what a store holds and costs.

    Args:
        store: an open store.
        price: dollars for a GB a month; None where only known price lists count.
        wire_a_month: bytes that cross the connection to the store in a month.
        limits: how many requests are made at once.
        on_event: is told of phases.

    Raises:
        Unsupported: the store is read over plain https, which cannot list.
    """
    used = usage(store, limits=limits, on_event=on_event)
    freed: int | None = None
    freed_versions = 0
    try:
        would = gc(store, dry_run=True, limits=limits, on_event=on_event)
        freed, freed_versions = would.freed + would.condemned, would.swept_versions + would.condemned_versions
    except AccessDenied:
        pass
    except CasError as error:
        on_event(events.Warned(f"the report does not tell what `cas gc` would free: {error}"))
    return stored_figures(used, freed, freed_versions, price_list(store.where, price), wire_a_month)


def stored_figures(
    used: Usage, freed: int | None, freed_versions: int, prices: Sequence[Price], wire_a_month: float
) -> Stored:
    """Return the figures of a store.

    Args:
        used: what versions take up.
        freed: bytes that the collector would free; None where it could not tell.
        freed_versions: versions that it would free.
        prices: the price lists.
        wire_a_month: bytes that cross the connection to the store in a month.
    """
    size = used.stored + used.unneeded + (used.superseded or 0)
    largest = sorted(used.versions, key=lambda version: -(version.freed + version.shared))[:MOST]
    return Stored(
        plain=used.plain,
        stored=used.stored,
        shared=used.plain - used.distinct,
        unneeded=used.unneeded,
        superseded=used.superseded,
        freed=freed,
        freed_versions=freed_versions,
        count=used.count,
        chunks=used.chunks,
        versions=tuple(
            StoredVersion(
                version=f"{version.model}@{version.digest[:SHORT]}",
                names=version.names.shown,
                created=version.created,
                plain=version.plain,
                own=version.freed,
                shared=version.shared,
            )
            for version in largest
        ),
        growth=_growth(used.written),
        costs=tuple(_cost(price, size, freed or 0, wire_a_month) for price in prices),
    )


def _growth(written: dict[str, int]) -> tuple[Growth, ...]:
    total, found = 0, []
    for day in sorted(written):
        total += written[day]
        found.append(Growth(day, total))
    return tuple(found)


def _cost(price: Price, size: int, freed: int, wire_a_month: float) -> Cost:
    return Cost(
        price=price,
        storage=round(size / 1e9 * price.storage, 4),
        freed=round(freed / 1e9 * price.storage, 4),
        egress=None if price.egress is None else round(wire_a_month / 1e9 * price.egress, 4),
    )
