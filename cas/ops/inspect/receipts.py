"""Which starts the receipts of a store tell of, of a model, a version or a deployment; and one of them, by its id."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from cas import host, refs
from cas.bucket import Entry
from cas.errors import InputError, NotFoundError
from cas.formats.digest import parse
from cas.formats.manifest import timestamp
from cas.refs.grammar import digits_in
from cas.store import layout
from cas.store.receipts import Listed, Stored, list_receipts, none_of, read_receipts
from cas.store.store import Store, open_store

SINCE = datetime.timedelta(days=7)
"""How far back receipts are looked at."""

LATEST = "latest"
"""Stands for the id of the newest receipt."""

_ID = re.compile(r"[0-9a-f]{4,16}")
_SHOWN = 4  # ids in an error


@dataclass(frozen=True, slots=True)
class FoundReceipts:
    """Receipts that were asked for.

    Attributes:
        receipts: newest first.
        damaged: keys of those that cannot be read.
        left_out: how many more were found than asked for.
    """

    receipts: tuple[Stored, ...]
    damaged: tuple[str, ...]
    left_out: int


def receipts(
    reference: str | None = None,
    store: Store | str | None = None,
    *,
    since: datetime.timedelta = SINCE,
    until: datetime.timedelta = datetime.timedelta(0),
    failed: bool = False,
    last: int | None = None,
    limits: host.Limits | None = None,
) -> FoundReceipts:
    """List the receipts of a store: what ran where, how long it took to start, and what failed.

    Args:
        reference: a model, a version of one (`model:tag`, `model@digest`, 8 or more digits alone), a deployment, or
            `pin:deployment[/model]`; None for all.
        store: an open store, its URL, or None for the default.
        since: receipts that are older are left out.
        until: receipts that are younger are left out.
        failed: only those of restores and boots that failed.
        last: how many to return at most, the newest; None for all.
        limits: how many requests are made at once.

    Raises:
        NotFoundError: there is no receipt of what was asked for, or no such tag.
        StoreError: the store cannot be read.
    """
    store = open_store(store)
    store.check_format()
    now = datetime.datetime.now(datetime.UTC)
    requests = (limits or host.Limits()).requests
    listed = list_receipts(store, since=now - since, until=now - until if until else None)
    wanted, is_wanted = _selection(store, reference, listed)
    read = read_receipts(store, listed=listed, wanted=wanted, requests=requests)
    matching = [one for one in reversed(read.receipts) if is_wanted(one)]
    if reference is not None and not matching and not read.damaged:
        raise none_of(reference, read.receipts or read_receipts(store, listed=listed, requests=requests).receipts)
    found = [one for one in matching if not failed or not one.receipt.ok]
    shown = found if last is None else found[:last]
    return FoundReceipts(tuple(shown), read.damaged, read.left_out + len(found) - len(shown))


def receipt(identity: str, store: Store | str | None = None) -> Stored:
    """Return one receipt.

    Args:
        identity: the first 4 or more digits of its id, or its key; or `latest`.
        store: an open store, its URL, or None for the default.

    Raises:
        InputError: it is no id, or several receipts have it.
        NotFoundError: there is no such receipt, or it cannot be read.
        StoreError: the store cannot be read.
    """
    store = open_store(store)
    store.check_format()
    if not (is_known := identity == LATEST or layout.receipt_digest(identity) is not None):
        is_known = _ID.fullmatch(digits := identity.lower()) is not None
    if not is_known:
        raise InputError(f"{identity!a} is no id of a receipt: give 4 to 16 digits of one that `cas receipts` lists")
    listed = list_receipts(store)
    if identity == LATEST:
        chosen = listed.receipts[-1:]
    elif layout.receipt_digest(identity) is not None:
        chosen = [entry for entry in listed.receipts if entry.key == identity]
    else:
        chosen = [entry for entry in listed.receipts if layout.receipt_identity(entry.key).startswith(digits)]
    if len(chosen) > 1:
        ids = ", ".join(layout.receipt_identity(entry.key) for entry in chosen[:_SHOWN])
        raise InputError(f"receipt {identity} is ambiguous ({ids}): give more digits")
    if not chosen:
        what = "no receipts yet: `cas restore --receipt` leaves one" if identity == LATEST else f"no receipt {identity}"
        advice = "" if identity == LATEST else ": `cas receipts` lists those of the last days"
        raise NotFoundError(f"{store.where} has {what}{advice}")
    read = read_receipts(store, listed=Listed(chosen, listed.later))
    if not read.receipts:
        raise NotFoundError(
            f"the receipt {chosen[0].key} in {store.where} cannot be read: it is malformed, or was erased"
        )
    return read.receipts[0]


Wanted = tuple[Callable[[Entry], bool], Callable[[Stored], bool]]


def _selection(store: Store, reference: str | None, listed: Listed) -> Wanted:
    """Return what says by its entry whether to read a receipt, and what says of one that was read whether it counts."""
    if reference is None:
        return (lambda entry: True), (lambda one: True)
    if reference.startswith("pin:"):
        deployment, _, model = reference.removeprefix("pin:").partition("/")
        return _of_deployment(deployment), (lambda one: model in ("", one.receipt.model))
    digits = digits_in(reference)
    if digits is None and (":" in reference or "@" in reference):
        named = refs.parse_reference(reference)
        prefix = named.digest if named.digest is not None else refs.resolve(store, named).digest
        return (
            lambda entry: (layout.receipt_digest(entry.key) or "").startswith(prefix),
            lambda one: one.receipt.model == named.model,
        )
    if any(layout.receipt_deployment(entry.key) == reference for entry in listed.receipts):
        return _of_deployment(reference), (lambda one: True)
    if digits is not None:  # of a version, or the name of a model
        return (lambda entry: True), (
            lambda one: one.receipt.model == reference or parse(one.receipt.manifest).startswith(digits)
        )
    return (lambda entry: True), (lambda one: one.receipt.model == reference)


def _of_deployment(name: str) -> Callable[[Entry], bool]:
    return lambda entry: layout.receipt_deployment(entry.key) == name


def document(one: Stored) -> dict[str, object]:
    """Return a receipt as `cas receipts --json` shows it: what is stored, its id, and the seconds of the start."""
    built: dict[str, object] = msgspec.to_builtins(one.receipt)
    return {
        "id": one.id,
        "key": one.key,
        "written": timestamp(one.written),
        "wall": round(one.receipt.wall, 6),
        "named": round(one.receipt.named, 6),
        **built,
    }
