"""Report: every start of some time on one page, with what to fix first, and what the store holds.

Order of steps:
    1. read the results of a benchmark, if given, so that a wrong file ends the report before it reads the store
    2. list and read the receipts (`cas.store.receipts`), and keep a `Start` of each
    3. count what the store holds, as `cas du` and `cas gc -n` do, unless asked not to
    4. compute all figures, a value (`figures.py`), and write the page of it (`page.py`) if asked to

Nothing is written to the store.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from cas import events, host
from cas.errors import AccessDenied, InputError
from cas.local.whole_file import write_whole
from cas.ops.report.benchmark import read_benchmark
from cas.ops.report.figures import Report, figures
from cas.ops.report.page import page
from cas.ops.report.starts import Start, start_of
from cas.ops.report.stored import Stored, read_stored
from cas.store.receipts import none_of, read_receipts
from cas.store.store import Store, open_store

SINCE = datetime.timedelta(days=30)
"""How far back a report goes, unless it is told otherwise."""

_MONTH = datetime.timedelta(days=30)
_SHORTEST = datetime.timedelta(hours=1)  # of the time that a month's bytes are extrapolated from


def report(
    about: str | None = None,
    store: Store | str | None = None,
    *,
    since: datetime.timedelta = SINCE,
    price: float | None = None,
    with_store: bool = True,
    benchmark: str | os.PathLike[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Report:
    """Return the report about the starts of some time.

    Args:
        about: a model or a deployment; None for all.
        store: an open store, its URL, or None for the default.
        since: how far back receipts count.
        price: what a GB in the store costs a month, in dollars; None where only known price lists count.
        with_store: whether to count what the store holds, which lists all its chunks.
        benchmark: a results file of `make bench`, whose figures the report shows.
        path: where the page is written, one HTML file; None to write none.
        limits: how many requests are made at once.
        on_event: is told of phases, and of what cannot be told.

    Raises:
        InputError: the price is negative.
        NotFoundError: there is no such results file, or no receipt is of the model or deployment, but of others.
        FormatError: it is none.
        CacheError: the page cannot be written.
        Unsupported: the store is read over plain https, which cannot list.
    """
    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"{price} is no price: give dollars for a GB a month, such as 0.006")
    cases = read_benchmark(benchmark) if benchmark is not None else ()
    store = open_store(store)
    limits = limits or host.Limits()
    now = datetime.datetime.now(datetime.UTC)
    store.check_format()
    on_event(events.Phase("receipts"))
    read = read_receipts(store, since=now - since, requests=limits.requests)
    starts = [
        start_of(one.id, one.receipt)
        for one in read.receipts
        if _is_about(one.receipt.model, one.receipt.deployment, about)
    ]
    if about is not None and read.receipts and not starts:
        raise none_of(about, read.receipts)
    if read.left_out:
        on_event(events.Warned(f"{read.left_out} older receipts were not read: they are too many"))
    stored = _stored(store, starts, now - since, price, limits, on_event) if with_store else None
    made = figures(
        starts,
        store=store.where,
        made=now,
        since=now - since,
        about=about or "",
        unread=len(read.damaged),
        stored=stored,
        benchmark=cases,
    )
    if path is not None:
        write_whole(Path(path), page(made), "name another file")
    return made


def _is_about(model: str, deployment: str, about: str | None) -> bool:
    return about is None or about in (model, deployment, f"pin:{deployment}/{model}", f"pin:{deployment}")


def _stored(
    store: Store,
    starts: list[Start],
    since: datetime.datetime,
    price: float | None,
    limits: host.Limits,
    on_event: events.Listener,
) -> Stored | None:
    """What the store holds; None where this key may not see it."""
    now = datetime.datetime.now(datetime.UTC)
    known = max(now - min((start.at for start in starts), default=since), _SHORTEST)
    wire = sum(start.wire for start in starts) * (_MONTH / known)
    try:
        return read_stored(store, price=price, wire_a_month=wire, limits=limits, on_event=on_event)
    except AccessDenied as error:
        on_event(events.Warned(f"the report does not tell what the store holds: {error}"))
        return None
