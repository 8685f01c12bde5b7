"""Which chunks the store has: all of them, or which of many.

Chunks are found by listing, or by a request for each. Their digests are evenly distributed, so the first page of a
listing tells how long the whole will be, and with it which of the two costs less.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass

from cas.bucket import Entry
from cas.errors import AccessDenied, ObjectMissing, Unsupported
from cas.host import Limits
from cas.parallel import for_each
from cas.store.layout import CHUNK_FOLDERS, CHUNKS, chunk_digest, chunk_folder, chunk_key
from cas.store.store import Store

_PAGE = 1000  # keys; what S3 servers send at most

# One listing of all chunks makes fewer requests than one for each of the 256 folders, which run side by side. With more
# pages than this, one after the other, it takes longer than those.
_PAGES_IN_A_ROW = 32

# A page of a listing costs as much as so many lookups. AWS takes 12.5 times the price of a HEAD for a LIST, and
# Backblaze B2 10 times (list prices of 2026); and a page is some 300 KB to send and to parse.
_LOOKUPS_PER_PAGE = 10

# So few chunks are looked up without a look at the listing.
_FEW = 128

_UNKNOWN = 1e9  # chunks in the store, when a page of the listing has nothing but foreign objects
_DIGITS = 8  # of a digest, enough to tell how far a listing has come


@dataclass(slots=True)
class _Reach:
    """How far a listing of all chunks, in the order of their digests, has come.

    Attributes:
        last: the highest digest so far (64 hex); empty before the first chunk.
        count: chunks so far.
    """

    last: str = ""
    count: int = 0

    def add(self, digest: str) -> None:
        """Count a chunk."""
        self.last = max(self.last, digest)
        self.count += 1

    @property
    def folders_left(self) -> list[str]:
        """The folders that were not listed to their end."""
        return [folder for folder in CHUNK_FOLDERS if folder >= chunk_folder(self.last)]

    @property
    def pages_left(self) -> int:
        """About how many pages would follow in a listing of all chunks."""
        return math.ceil(self._chunks_left / _PAGE)

    @property
    def requests_left(self) -> int:
        """About how many requests would list the rest: by pages in a row, or by the folders that are left."""
        if self.pages_left <= _PAGES_IN_A_ROW:
            return self.pages_left
        folders = self.folders_left
        return len(folders) * math.ceil(self._chunks_left / len(folders) / _PAGE)

    @property
    def _chunks_left(self) -> float:
        if not self.last:
            return _UNKNOWN
        all_digits = float(16**_DIGITS)
        return self.count * all_digits / (int(self.last[:_DIGITS], 16) + 1) - self.count


def list_chunks(store: Store, visit: Callable[[str, Entry], None], limits: Limits) -> None:
    """Call `visit` for every chunk that the store has, once, in no particular order.

    It returns no list, which could fill the memory.

    Args:
        store: whose chunks are listed.
        visit: takes the digest (64 hex) and the entry of a chunk; called from several threads, one at a time.
        limits: how many folders are listed at once.

    Raises:
        Unsupported: the store is read over https.
    """
    _list(store, visit, limits, lambda requests: True)


def _list(store: Store, visit: Callable[[str, Entry], None], limits: Limits, pays: Callable[[int], bool]) -> bool:
    """List all chunks, as `list_chunks` does, as long as it pays; return whether all were listed.

    Args:
        store: whose chunks are listed.
        visit: takes the digest and the entry of a chunk.
        limits: how many folders are listed at once.
        pays: whether about so many further requests of the listing are worth making.
    """
    reach = _Reach()
    with contextlib.closing(_pages(store, CHUNKS)) as pages:
        for page in pages:
            for digest, entry in page:
                visit(digest, entry)
                reach.add(digest)
            if not pays(reach.requests_left):
                return False
            if reach.requests_left > _PAGES_IN_A_ROW:
                break
        else:
            return True
    _list_folders(store, reach, visit, limits)
    return True


def list_chunk_folders(
    store: Store, folders: Collection[str], visit: Callable[[str, Entry], None], limits: Limits
) -> None:
    """Call `visit` for every chunk in some of the folders of chunks; otherwise as `list_chunks`."""
    visiting = threading.Lock()

    def list_folder(folder: str) -> None:
        for page in _pages(store, folder):
            with visiting:
                for digest, entry in page:
                    visit(digest, entry)

    for_each(list_folder, folders, threads=min(limits.requests, len(folders)))


def _list_folders(store: Store, reach: _Reach, visit: Callable[[str, Entry], None], limits: Limits) -> None:
    """List what a listing of all chunks has not reached, folder by folder."""
    last = reach.last

    def visit_rest(digest: str, entry: Entry) -> None:
        if digest > last:
            visit(digest, entry)

    list_chunk_folders(store, reach.folders_left, visit_rest, limits)


def _pages(store: Store, folder: str) -> Generator[list[tuple[str, Entry]]]:
    for page in store.bucket.pages(folder):
        yield [(digest, entry) for entry in page if (digest := chunk_digest(entry.key)) is not None]


def stored_chunks(store: Store, digests: Collection[str], limits: Limits) -> set[str]:
    """Return those of `digests` whose chunks the store has now; as `stored_sizes`."""
    return set(stored_sizes(store, digests, limits))


def stored_sizes(store: Store, digests: Collection[str], limits: Limits) -> dict[str, int]:
    """Return how many bytes each chunk takes in the store, by digest, without those that the store lacks.

    The store is asked now. Requests and memory grow with `digests`, and not with the store.

    Args:
        store: where to look.
        digests: 64 hex each.
        limits: how many requests are made at once.
    """
    wanted, found = set(digests), dict[str, int]()

    def visit(digest: str, entry: Entry) -> None:
        if digest in wanted:
            found[digest] = entry.size

    def pays(requests: int) -> bool:
        return requests * _LOOKUPS_PER_PAGE <= len(wanted) - len(found)

    # A store that is read over https cannot be listed, and a key may be for objects only.
    with contextlib.suppress(Unsupported, AccessDenied):
        if len(wanted) > _FEW and _list(store, visit, limits, pays):
            return found

    def look_up(digest: str) -> None:
        with contextlib.suppress(ObjectMissing):
            found[digest] = store.bucket.head(chunk_key(digest)).size

    # Whatever a listing left out that was given up is looked up, so its order does not matter.
    left = wanted - found.keys()
    for_each(look_up, left, threads=min(limits.requests * 2, max(1, len(left))))
    return found
