"""Which chunks the store has: all of them, or which of many, by a request for each or, for too many, by listing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection

from cas.bucket import Entry
from cas.errors import ObjectMissing, Unsupported
from cas.host import Limits
from cas.parallel import for_each
from cas.store.layout import CHUNK_FOLDERS, chunk_digest, chunk_folder, chunk_key
from cas.store.store import Store

# Above this many chunks, listing the 256 chunk folders costs less than a request for each chunk.
_LISTING_PAYS = 1024


def list_chunks(
    store: Store,
    visit: Callable[[str, Entry], None],
    limits: Limits,
    folders: Collection[str] = CHUNK_FOLDERS,
) -> None:
    """Call `visit` for every chunk that the store has, in no particular order.

    It returns no list, which could fill the memory.

    Args:
        store: whose chunks are listed.
        visit: takes the digest (64 hex) and the entry of a chunk; called from several threads, one at a time.
        limits: how many folders are listed at once.
        folders: those to list, by default all.

    Raises:
        Unsupported: the store is read over https.
    """
    visiting = threading.Lock()

    def list_folder(folder: str) -> None:
        listed = store.bucket.list(folder)
        with visiting:
            for entry in listed:
                if (digest := chunk_digest(entry.key)) is not None:
                    visit(digest, entry)

    if folders:
        for_each(list_folder, sorted(folders), threads=min(limits.requests, len(folders)))


def stored_chunks(store: Store, digests: Collection[str], limits: Limits) -> set[str]:
    """Return those of `digests` whose chunks the store has; every one is looked up on the server now.

    Args:
        store: where to look.
        digests: 64 hex each.
        limits: how many requests are made at once.

    Raises:
        Unsupported: there are more than 1024 digests, and the store is read over https, where nothing can be listed.
    """
    found: set[str] = set()
    if len(digests) > _LISTING_PAYS:
        wanted = set(digests)
        list_chunks(store, lambda digest, _: found.add(digest), limits, {chunk_folder(digest) for digest in wanted})
        return found & wanted

    def look_up(digest: str) -> None:
        if store.has_chunk(digest):
            found.add(digest)

    for_each(look_up, digests, threads=_threads(digests, limits))
    return found


def stored_sizes(store: Store, digests: Collection[str], limits: Limits) -> dict[str, int]:
    """Return how many bytes each chunk takes in the store, by digest, without those that the store lacks.

    Args:
        store: where to look, now.
        digests: 64 hex each.
        limits: how many requests are made at once.
    """
    found: dict[str, int] = {}
    if len(digests) > _LISTING_PAYS:
        with contextlib.suppress(Unsupported):
            wanted = set(digests)

            def visit(digest: str, entry: Entry) -> None:
                if digest in wanted:
                    found[digest] = entry.size

            list_chunks(store, visit, limits, {chunk_folder(digest) for digest in digests})
            return found

    def look_up(digest: str) -> None:
        with contextlib.suppress(ObjectMissing):
            found[digest] = store.bucket.head(chunk_key(digest)).size

    for_each(look_up, digests, threads=_threads(digests, limits))
    return found


def _threads(digests: Collection[str], limits: Limits) -> int:
    return min(limits.requests * 2, max(1, len(digests)))
