"""Receipts as a store has them: listed, read in parallel, and joined with the phases that programs added later.

    list every receipt, and every document with later phases, that was written in the time that is asked for
    some folders (a day of a deployment each) at a time:
        take what this machine read before from its cache of receipts
        read the others in parallel, and keep them in the cache

A receipt that cannot be read is named and left out. Whoever may write receipts can make them up: they decide nothing.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import msgspec

from cas.bucket import Entry
from cas.errors import FormatError, NotFoundError, ObjectMissing
from cas.parallel import for_each
from cas.store import layout
from cas.store.receipt import LATER_PHASES, MAX_SIZE, MOST_PHASES, RECEIPTS, PhaseTime, Receipt
from cas.store.receipt_cache import ReceiptCache
from cas.store.store import Store

MOST = 100_000
"""Receipts that are read at most, the newest of those listed; 10,000 take about 60 MB of memory."""

_SHOWN = 4  # names in an error
_AT_ONCE = 2000  # documents whose bytes are in memory at a time

T = TypeVar("T")


class Stored(NamedTuple):
    """A receipt, and where it is.

    Attributes:
        key: of the receipt.
        written: when it was written, by the store's clock.
        receipt: with the phases that programs added later.
    """

    key: str
    written: datetime.datetime
    receipt: Receipt

    @property
    def id(self) -> str:
        """16 hex digits that name the receipt."""
        return layout.receipt_identity(self.key)


class Listed(NamedTuple):
    """What a listing shows of receipts.

    Attributes:
        receipts: oldest first.
        later: the documents with later phases of each receipt, by its key; of each program the newest.
    """

    receipts: list[Entry]
    later: Mapping[str, Sequence[Entry]]


@dataclass(frozen=True, slots=True)
class Read:
    """Receipts that were read.

    Attributes:
        receipts: oldest first.
        damaged: keys of those that cannot be read.
        left_out: how many more there are than MOST.
    """

    receipts: tuple[Stored, ...]
    damaged: tuple[str, ...]
    left_out: int


def list_receipts(
    store: Store,
    deployment: str = "",
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
) -> Listed:
    """List the receipts of a store.

    Args:
        store: where they are.
        deployment: whose receipts; empty for all.
        since: when the oldest was written that counts, by the store's clock.
        until: when the newest was.

    Raises:
        StoreError: the store cannot be listed.
    """
    folder = f"{layout.RECEIPTS}/{deployment}" if deployment else layout.RECEIPTS
    receipts, later = [], defaultdict[str, dict[str, Entry]](dict)
    for page in store.bucket.pages(folder):
        for entry in page:
            if layout.receipt_digest(entry.key) is not None:
                if (since is None or entry.modified >= since) and (until is None or entry.modified <= until):
                    receipts.append(entry)
            elif found := layout.later_phases(entry.key):
                key, program = found
                if program not in later[key] or later[key][program].key < entry.key:
                    later[key][program] = entry
    receipts.sort(key=lambda entry: (entry.modified, entry.key))
    return Listed(receipts, {key: list(programs.values()) for key, programs in later.items()})


def read_each(
    store: Store, entries: Sequence[Entry], decode: Callable[[bytes], T], requests: int
) -> tuple[dict[str, T], list[str]]:
    """Read documents in parallel; those that a collector has erased are left out.

    Args:
        store: where they are.
        entries: as a listing shows them.
        decode: returns what a document says, or raises what msgspec raises.
        requests: how many are read at once.

    Returns:
        What each document says, by its key; and the keys of those that cannot be read.
    """
    found: dict[str, T] = {}
    damaged: list[str] = []

    def decoded(data: bytes) -> T:
        try:
            return decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise FormatError(f"receipt is malformed: {error}") from None

    def read(entry: Entry) -> None:
        try:
            try:
                found[entry.key] = decoded(_content(store, entry))
            except FormatError:  # damaged on the way, or another one than was listed
                found[entry.key] = store.get_document(entry.key, MAX_SIZE, decoded)
        except ObjectMissing:
            return
        except FormatError:
            damaged.append(entry.key)

    if entries:
        for_each(read, entries, threads=min(requests, len(entries)))
    return found, sorted(damaged)


def _content(store: Store, entry: Entry) -> bytes:
    """Read a document into memory of the size that the listing shows: many times cheaper than `Bucket.get`."""
    into = memoryview(bytearray(min(entry.size, MAX_SIZE)))
    return bytes(into[: store.bucket.get_into(entry.key, into)])


def read_receipts(
    store: Store,
    deployment: str = "",
    *,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    listed: Listed | None = None,
    wanted: Callable[[Entry], bool] = lambda entry: True,
    newest: int = MOST,
    requests: int = 14,
    cache: ReceiptCache | None = None,
) -> Read:
    """Read the receipts of a store.

    Args:
        store: where they are.
        deployment: whose receipts; empty for all.
        since: when the oldest was written that counts, by the store's clock.
        until: when the newest was.
        listed: what a listing showed, in place of a new one of these arguments.
        wanted: says by a receipt's entry in the listing whether to read it.
        newest: how many to read at most.
        requests: how many are read at once.
        cache: what this machine has read before; None for the user's own.

    Raises:
        StoreError: the store cannot be read.
    """
    cache = cache or ReceiptCache.of_user(store.where)
    listed = listed or list_receipts(store, deployment, since, until)
    entries = [entry for entry in listed.receipts if wanted(entry)]
    chosen = entries[-newest:] if newest else []
    found: list[Stored] = []
    damaged: list[str] = []
    for batch in _batches(chosen, listed.later):
        texts, unread = _texts(store, batch, requests, cache)
        damaged += unread
        for entry in batch:
            if layout.receipt_digest(entry.key) is None or (text := texts.get(entry.key)) is None:
                continue
            later_texts = (texts[each.key] for each in listed.later.get(entry.key, ()) if each.key in texts)
            try:
                receipt = RECEIPTS.decode(text)
                later = [phase for each in later_texts for phase in LATER_PHASES.decode(each).phases]
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):  # another release kept it in the cache
                damaged.append(entry.key)
                continue
            found.append(Stored(entry.key, entry.modified, _joined(receipt, later)))
    found.sort(key=lambda one: (one.written, one.key))
    return Read(tuple(found), tuple(sorted(damaged)), len(entries) - len(chosen))


def _batches(receipts: Iterable[Entry], later: Mapping[str, Sequence[Entry]]) -> Iterator[list[Entry]]:
    """Yield receipts with their later phases, whole folders at a time."""
    folders = defaultdict[str, list[Entry]](list)
    for entry in receipts:
        folders[_folder(entry)] += [entry, *later.get(entry.key, ())]
    batch: list[Entry] = []
    for entries in folders.values():
        batch += entries
        if len(batch) >= _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _texts(
    store: Store, entries: Sequence[Entry], requests: int, cache: ReceiptCache
) -> tuple[dict[str, bytes], list[str]]:
    """Return the bytes of documents that can be decoded, and the keys of those that cannot."""
    folders = defaultdict[str, list[Entry]](list)
    for entry in entries:
        folders[_folder(entry)].append(entry)
    texts: dict[str, bytes] = {}
    for folder, inside in folders.items():
        texts |= cache.get(folder, inside)
    missing = [entry for entry in entries if entry.key not in texts]
    receipts = [entry for entry in missing if layout.receipt_digest(entry.key) is not None]
    others = [entry for entry in missing if layout.receipt_digest(entry.key) is None]
    read, damaged = read_each(store, receipts, lambda data: (RECEIPTS.decode(data), data)[1], requests)
    phases, unread = read_each(store, others, lambda data: (LATER_PHASES.decode(data), data)[1], requests)
    texts |= read | phases
    for folder in {_folder(entry) for entry in missing}:
        cache.put(folder, [(entry, texts[entry.key]) for entry in folders[folder] if entry.key in texts])
    return texts, [*damaged, *unread]


def _folder(entry: Entry) -> str:
    return entry.key.rpartition("/")[0]


def _joined(receipt: Receipt, later: Sequence[PhaseTime]) -> Receipt:
    if not later:
        return receipt
    return msgspec.structs.replace(receipt, phases=(*receipt.phases, *later)[:MOST_PHASES])


def none_of(reference: str, others: Sequence[Stored]) -> NotFoundError:
    """Return the error that no receipt is of what was asked for, which names the closest that there are."""
    from difflib import get_close_matches

    names = sorted({name for one in others for name in (one.receipt.model, one.receipt.deployment)})
    if not names:
        return NotFoundError(
            "no receipts of the time that was asked for: `cas restore --receipt` or CAS_RECEIPT=1 leaves one, "
            "and --since 90d looks further back"
        )
    close = get_close_matches(reference.removeprefix("pin:"), names, _SHOWN) or names[:_SHOWN]
    return NotFoundError(
        f"no receipt is of {reference} in the time that was asked for: there are some of {', '.join(close)}"
    )
