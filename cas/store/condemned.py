"""What collectors have condemned: written down as unreferenced long before it is deleted.

Condemning deletes nothing. A publisher that meanwhile needs a condemned chunk takes it for absent and sends it again,
which makes the chunk younger than its condemnation, and a sweep never deletes what is younger.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Annotated, NamedTuple

import msgspec

from cas.bucket import Entry, Kind
from cas.errors import FormatError, ObjectMissing
from cas.formats.digest import Hex
from cas.formats.manifest import Name
from cas.formats.typed_json import JsonFormat
from cas.store.layout import VersionId, condemned_key, condemned_run
from cas.store.store import Store

# Digests in one document: a million chunks in one would be 64 MB of JSON, more than anything should read at once.
_PAGE = 100_000
_MAX_PAGE = 16 * 1024 * 1024  # bytes


class _Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One document of a run's list."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    manifests: tuple[tuple[Name, Hex], ...]
    chunks: tuple[Hex, ...]


_PAGES = JsonFormat[_Page](_Page)


class CondemnedSet(NamedTuple):
    """The list of what one run condemned.

    Attributes:
        run: the name of the run.
        at: when its last document was written, by the server's clock.
        keys: of its documents.
    """

    run: str
    at: datetime.datetime
    keys: tuple[str, ...]


def condemned_sets(listed: Iterable[Entry]) -> list[CondemnedSet]:
    """Return the condemned sets whose documents are among `listed` (a listing of `gc/`), oldest first."""
    found: dict[str, list[Entry]] = {}
    for entry in listed:
        if run := condemned_run(entry.key):
            found.setdefault(run, []).append(entry)
    sets = (
        CondemnedSet(run, max(entry.modified for entry in entries), tuple(entry.key for entry in entries))
        for run, entries in found.items()
    )
    return sorted(sets, key=lambda condemned: (condemned.at, condemned.run))


def condemned_chunks(store: Store, condemned: CondemnedSet) -> Iterator[bytes]:
    """Yield the digests (32 bytes) of the chunks in a set; raise FormatError for a document that cannot be read."""
    for page in _pages(store, condemned):
        yield from map(bytes.fromhex, page.chunks)


def condemned_versions(store: Store, condemned: CondemnedSet) -> Iterator[VersionId]:
    """Yield the versions whose manifests are in a set; raise FormatError for a document that cannot be read."""
    for page in _pages(store, condemned):
        yield from (VersionId(*version) for version in page.manifests)


def condemn(store: Store, run: str, versions: Iterable[VersionId], chunks: Iterable[bytes]) -> None:
    """Write down that a run found these manifests and chunks unreferenced.

    Args:
        store: that has them.
        run: the name of the run.
        versions: whose manifests are condemned.
        chunks: digests, 32 bytes each.
    """
    manifests, rest, number = tuple(versions), iter(chunks), 0
    while (page := tuple(digest.hex() for digest in islice(rest, _PAGE))) or manifests:
        document = _PAGES.encode(_Page(1, manifests, page))
        store.bucket.put(condemned_key(run, number), document, Kind.DOCUMENT)
        manifests, number = (), number + 1


def _pages(store: Store, condemned: CondemnedSet) -> Iterator[_Page]:
    """The documents of a set, without those that were deleted meanwhile, because the set was swept."""
    for key in condemned.keys:
        try:
            yield store.get_document(key, _MAX_PAGE, partial(_parse, store, key))
        except ObjectMissing:
            continue


def _parse(store: Store, key: str, data: bytes) -> _Page:
    try:
        return _PAGES.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{key} in {store.url} is malformed ({error}): remove that object, and run `cas gc` again"
        ) from None
