"""A store whose chunks and manifests are read through a content delivery network; all else is the bucket's.

Chunks and manifests never change and are named by their digests, so a cache cannot return a wrong one unnoticed.
Refs, format.json, listings and all writes go to the bucket: a cache that knew them would show an old state.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from cas.bucket import Bucket, RetryPolicy, open_bucket
from cas.bucket.urls import plain_address
from cas.errors import CasError, InputError, IntegrityError
from cas.events import Listener, Noted, Warned
from cas.formats.digest import Buffer
from cas.formats.manifest import ChunkRef
from cas.parallel import ReusableBuffer
from cas.store import layout
from cas.store.store import Store

if TYPE_CHECKING:
    from cas.bucket.body import Body
    from cas.formats.frame import Decoder

T = TypeVar("T")

VARIABLE = "CAS_READ_URL"

_PATIENCE = 3
"""Failures in a row after which the network is left alone: each costs a request, and the bucket is there."""


def through_cdn(store: Store, url: str, listen: Listener) -> Store:
    """Return the same store, with chunks and manifests read by https through a cache; makes no request.

    Args:
        store: an open store. One in a directory, in memory or behind https already is returned as it is.
        url: of the store's root behind the cache, from CAS_READ_URL.
        listen: is told which URL is read, and, once, that the bucket is read in its place.

    Raises:
        InputError: `url` is no https URL.
    """
    if isinstance(store, CdnStore) or not is_read_through(store.url):
        return store
    url = address_of(url)
    # The bucket stands behind it: no long waits, and no tries that it could do better.
    policy = dataclasses.replace(RetryPolicy(), attempts=2, unreachable_attempts=1)
    listen(Noted(f"reading chunks and manifests from {url}, all else from {store.url}"))
    through = CdnStore(store.bucket, open_bucket(url, policy), listen)
    through.sign_as(store)
    return through


def is_read_through(store_url: str) -> bool:
    """Whether CAS_READ_URL counts for the store at this URL: a directory and a web server are read themselves.

    Nor does it count for a URL with a profile of its own: that is another store than the variables speak of.
    """
    scheme, _, rest = store_url.partition("://")
    return scheme in ("s3", "az", "gs") and "@" not in rest.partition("/")[0]


def address_of(given: str) -> str:
    """Return the URL of a store's root behind a cache, as it is shown and opened.

    Args:
        given: what CAS_READ_URL holds.

    Raises:
        InputError: it is no https URL, or more than an address.
    """
    scheme, colon, rest = given.strip().partition("://")
    if not colon or scheme.lower() not in ("https", "http"):
        raise InputError(f"{VARIABLE}: write https:// and the host, as in https://cdn.example.com/cas")
    return plain_address(VARIABLE, f"{scheme.lower()}://{rest}")


class CdnStore(Store):
    """A store that asks a cache first for what never changes, and the bucket for what the cache does not have.

    What the cache sent damaged is fetched again from the bucket, which alone can say that something is lost or corrupt.
    """

    def __init__(self, bucket: Bucket, cache: Bucket, listen: Listener) -> None:
        """Make no request yet.

        Args:
            bucket: the objects behind the store.
            cache: the same objects behind the network; only read from.
            listen: is told once that the bucket is read in place of the cache.
        """
        super().__init__(bucket)
        self._cache, self._listen = cache, listen
        self._guard = threading.Lock()
        self._unopened: set[str] = set()  # digests of frames from the cache that nobody has verified yet
        self._fetched_again: set[str] = set()
        self._failures = 0  # in a row
        self._has_warned = False

    def get_document(self, key: str, limit: int, read: Callable[[bytes], T]) -> T:
        if layout.version_id(key) is not None and self._is_used():
            try:
                found = read(bytes(self._cache.get(key, limit)))
            except CasError as error:
                self._failed(error)
            else:
                self._succeeded()
                return found
        return super().get_document(key, limit, read)

    def get_frame(self, ref: ChunkRef, buffer: ReusableBuffer | None = None, body: Body | None = None) -> Buffer:
        with self._guard:
            is_again = ref.digest in self._unopened
            if is_again:
                self._fetched_again.add(ref.digest)
        if not is_again and self._is_used():
            try:
                frame = self._from_cache(ref, buffer, body)
            except CasError as error:
                self._failed(error)
            else:
                with self._guard:
                    self._unopened.add(ref.digest)
                return frame
        return super().get_frame(ref, buffer, body)

    def open_frame(self, ref: ChunkRef, frame: Buffer, decoder: Decoder, into: memoryview | None = None) -> memoryview:
        try:
            return super().open_frame(ref, frame, decoder, into)
        finally:
            with self._guard:
                from_cache = ref.digest in self._unopened
                self._unopened.discard(ref.digest)
                was_damaged = ref.digest in self._fetched_again
                self._fetched_again.discard(ref.digest)
            if was_damaged:
                self._failed(IntegrityError(f"chunk {ref.digest} came damaged from {self._cache.url}"))
            elif from_cache:
                self._succeeded()

    def _from_cache(self, ref: ChunkRef, buffer: ReusableBuffer | None, body: Body | None) -> Buffer:
        from cas.formats.frame import largest_frame

        limit, key = largest_frame(ref.size), layout.chunk_key(ref.digest)
        if buffer is None:
            return self._cache.get(key, limit)
        view = buffer.view(limit)
        return view[: self._cache.get_into(key, view, body)]

    def _is_used(self) -> bool:
        with self._guard:
            return self._failures < _PATIENCE

    def _succeeded(self) -> None:
        with self._guard:
            if self._failures < _PATIENCE:
                self._failures = 0

    def _failed(self, error: CasError) -> None:
        with self._guard:
            self._failures += 1
            is_first, self._has_warned = not self._has_warned, True
        if is_first:
            self._listen(Warned(f"{VARIABLE}: {error}: what it does not give is read from {self.url}"))
