"""What a collector has condemned: it says so long before it deletes, so that nobody builds upon it.

Nothing is deleted by being condemned. Who publishes meanwhile takes such a chunk for absent and sends it again, which
makes it younger than its condemnation, and what is younger is never swept.
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
from cas.store.layout import VersionId, condemned_key, condemned_run
from cas.store.store import Store

# Digests in one document: 64 MB of JSON for a million chunks would be more than anybody should read at once.
_PART = 100_000
_LARGEST = 16 * 1024 * 1024


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    manifests: tuple[tuple[Name, Hex], ...]
    chunks: tuple[Hex, ...]


class Condemnation(NamedTuple):
    """What one run condemned. at: when, by the server's clock. keys: of its documents."""

    run: str
    at: datetime.datetime
    keys: tuple[str, ...]


def condemnations(listed: Iterable[Entry]) -> list[Condemnation]:
    """The runs whose documents are among `listed`, oldest first. A run condemned when its last document was written."""
    found: dict[str, list[Entry]] = {}
    for entry in listed:
        if run := condemned_run(entry.key):
            found.setdefault(run, []).append(entry)
    runs = (
        Condemnation(run, max(entry.modified for entry in entries), tuple(entry.key for entry in entries))
        for run, entries in found.items()
    )
    return sorted(runs, key=lambda one: (one.at, one.run))


def chunks_of(store: Store, condemnation: Condemnation) -> Iterator[bytes]:
    """Digests (32 bytes) of the chunks that a run condemned; raises FormatError for a document that cannot be read."""
    for part in _parts(store, condemnation):
        yield from map(bytes.fromhex, part.chunks)


def manifests_of(store: Store, condemnation: Condemnation) -> Iterator[VersionId]:
    """The versions whose manifests a run condemned; raises as `chunks_of`."""
    for part in _parts(store, condemnation):
        yield from (VersionId(*version) for version in part.manifests)


def condemn(store: Store, run: str, manifests: Iterable[VersionId], chunks: Iterable[bytes]) -> None:
    """Writes down that a run found these manifests and chunks (32 bytes) unreferenced."""
    first, rest, part = tuple(manifests), iter(chunks), 0
    while (some := tuple(digest.hex() for digest in islice(rest, _PART))) or first:
        document = msgspec.json.encode(_Part(1, first, some))
        store.bucket.put(condemned_key(run, part), document, Kind.DOCUMENT)
        first, part = (), part + 1


def _parts(store: Store, condemnation: Condemnation) -> Iterator[_Part]:
    """Its documents; one that went meanwhile says nothing, as its run was swept."""
    for key in condemnation.keys:
        try:
            yield store.get_document(key, _LARGEST, partial(_read, store, key))
        except ObjectMissing:
            continue


def _read(store: Store, key: str, data: bytes) -> _Part:
    try:
        return msgspec.json.decode(data, type=_Part)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{key} in {store.url} is malformed ({error}): remove that object, and run `cas gc` again"
        ) from None
