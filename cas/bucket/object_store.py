"""A bucket over obstore, which has one client for S3, https, a directory and memory."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from obstore.store import ObjectStore

from cas.bucket.base import (
    Bucket,
    Entries,
    Entry,
    Kind,
    MultipartUpload,
    MultipartUploads,
    ObjectRange,
    Pages,
    ServerFacts,
    Stored,
    Versions,
)
from cas.bucket.event_loop import network_loop
from cas.bucket.object_requests import ObjectRequests
from cas.errors import (
    CannotResume,
    ForeignKey,
    ObjectExists,
    ObjectMissing,
    ObjectTooLarge,
    Redirected,
    StoreError,
    Transient,
    Unsupported,
)
from cas.formats.digest import Buffer

if TYPE_CHECKING:
    from cas.bucket.body import Body
    from cas.bucket.http.reader import DirectReader
    from cas.bucket.s3.admin import S3Admin

T = TypeVar("T")

ReadUrl: TypeAlias = Callable[[ObjectStore, str, int], str]
"""Makes the URL under which anybody can read a client's key for so many seconds."""

_DIRECT_SECONDS = 10 * 60
"""How long the URLs live that this process reads itself."""


class ObjectBucket(Bucket):
    """A bucket whose requests go through obstore, under deadlines and retries."""

    def __init__(
        self,
        url: str,
        requests: ObjectRequests,
        *,
        conditional: bool = True,
        remote: bool = True,
        writable: bool = True,
        read_url: ReadUrl | None = None,
        s3_admin: S3Admin | None = None,
        ca_bundle: Callable[[], str] = lambda: "",
    ) -> None:
        """Make no request yet.

        Args:
            url: the bucket's URL or path, as errors name it.
            requests: the requests to obstore.
            conditional: whether `If-None-Match: *` is sent with writes; the bucket stops sending it when the server
                refuses the first one for it.
            remote: whether a server answers. When a server says that something is absent, the bucket makes sure that
                it is a server of objects that says so.
            writable: False refuses writes and listings before any request.
            read_url: makes the URL of an object; None where no server shows the objects.
            s3_admin: stored versions and multipart uploads, which obstore does not offer; None where there are none.
            ca_bundle: returns the file of a private certificate authority; empty for none.
        """
        self.url = url
        self._requests = requests
        self._conditional = conditional
        self._created = False  # whether a conditional write succeeded here
        self._remote = remote
        self._writable = writable
        self._read_url = read_url
        self._s3_admin = s3_admin
        self._ca_bundle = ca_bundle
        self._direct: DirectReader | None = None
        self._making_direct = threading.Lock()
        self._witness = ""  # a key that was read or written here, so the object exists

    @property
    def where(self) -> str:
        return self._requests.where

    def get(self, key: str, limit: int) -> Buffer:
        data = self._call("get", key, lambda stretch: self._requests.get(key, limit, stretch))
        self._witness = key
        return data

    def get_into(self, key: str, into: memoryview, body: Body | None = None) -> int:
        direct = self._direct_reader()
        size = direct.read(key, into, body) if direct else None
        if size is None:
            return super().get_into(key, into)
        self._witness = key
        return size

    def get_range(self, key: str, start: int, size: int) -> ObjectRange:
        return self._call("get", key, lambda stretch: self._requests.get_range(key, start, size, stretch))

    def head(self, key: str) -> Entry:
        try:
            return self._call("head", key, lambda stretch: self._requests.head(key, stretch))
        except (ObjectMissing, StoreError) as error:
            # The answer to HEAD has no body, so it cannot say that it is the bucket that is missing, or why it refuses.
            is_silent = not self._witness if isinstance(error, ObjectMissing) else error.code.isdigit()
            if self._remote and is_silent and not isinstance(error, Transient):
                self._call("get", key, lambda stretch: self._requests.begin_get(key, stretch))
            raise

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        self._must_be_writable("put", key)
        if overwrite:
            return self._overwrite(key, data, kind)
        if not self._conditional:
            return self._put_after_look(key, data, kind)
        try:
            self._call("create", key, lambda stretch: self._requests.put("create", key, data, kind, stretch))
        except ObjectExists:
            # The server may also report a conflict with a concurrent write, and that write may fail yet.
            return self._put_after_look(key, data, kind)
        except Unsupported:
            # Backblaze B2 answers 501 to a conditional write, whatever is written.
            self._conditional = False
            return self._put_after_look(key, data, kind)
        except StoreError as error:
            if type(error) is not StoreError or self._created:
                raise
            try:
                done = self._put_after_look(key, data, kind)  # others answer 400
            except StoreError:
                raise error from None
            self._conditional = False
            return done
        self._created = True
        self._witness = key
        return True

    def probe_conditional_writes(self, key: str, first: Buffer | None, second: Buffer) -> bool:
        from cas.bucket.condition_probe import honours_condition

        self._must_be_writable("put", key)
        return not self._remote or honours_condition(self, self._requests, key, first, second)

    def list(self, prefix: str) -> list[Entry]:
        return sorted(entry for page in self.pages(prefix) for entry in page)

    def pages(self, prefix: str) -> Iterator[Entries]:
        self._must_be_writable("list", prefix)
        is_empty = True
        for page in self._pages(prefix):
            is_empty = is_empty and not page
            yield page
        if is_empty and self._remote and self._witness:
            self._call("list", prefix, lambda stretch: self._must_show_something(prefix, stretch))
            yield from self._pages(prefix)

    def _pages(self, prefix: str) -> Iterator[Entries]:
        listing = self._requests.listing(prefix)
        read = partial(self._requests.next_page, listing)
        try:
            while (page := self._call("list", prefix, read)) is not None:
                yield page
        except (CannotResume, ForeignKey) as error:
            # One such key (`a//b`) hides the whole listing from obstore (apache/arrow-rs-object-store#341), which also
            # keeps continuation tokens to itself.
            if self._s3_admin is None:
                raise
            behind = listing.last if isinstance(error, ForeignKey) else ""
            for page in self._s3_admin.pages(prefix, self._requests.foreign, behind):
                yield [entry for entry in page if listing.is_new(entry)]

    def delete(self, key: str) -> None:
        self._must_be_writable("delete", key)
        if key == self._witness:
            self._witness = ""
        try:
            self._call("delete", key, lambda stretch: self._requests.delete(key, stretch))
        except ObjectMissing:
            return

    def signed_url(self, key: str, seconds: int) -> str:
        if self._read_url is None:
            return super().signed_url(key, seconds)
        network_loop()  # raises in a forked child, where the client that signs cannot be used
        with self._requests.translated_errors("get", key):
            return self._read_url(self._requests.client(reading=True), key, seconds)

    def keeps_versions(self, key: str) -> bool:
        return bool(self._s3_admin and self._s3_admin.keeps_versions(key))

    def stored(self, prefix: str) -> Versions:
        return self._s3_admin.stored(prefix) if self._s3_admin else super().stored(prefix)

    def erase(self, stored: Stored) -> None:
        if self._s3_admin and stored.version:
            self._s3_admin.erase(stored)
        else:
            self.delete(stored.key)

    def multipart_uploads(self) -> MultipartUploads:
        return self._s3_admin.multipart_uploads() if self._s3_admin else []

    def abort(self, upload: MultipartUpload) -> None:
        if self._s3_admin:
            self._s3_admin.abort(upload)

    def server(self) -> ServerFacts | None:
        return self._s3_admin.server() if self._s3_admin else None

    def first_pages(self, prefix: str, size: int, most: int) -> Pages:
        return (
            self._s3_admin.first_pages(prefix, size, most)
            if self._s3_admin
            else super().first_pages(prefix, size, most)
        )

    def _call(self, operation: str, key: str, attempt: Callable[[float], Awaitable[T]]) -> T:
        try:
            return self._requests.call(operation, key, attempt)
        except Redirected as error:
            # obstore hides the answer, which may name the region of the bucket.
            reader = None if error.region else self._direct_reader()
            if reader and (region := reader.named_region(key)):
                from cas.bucket.errors.refusals import other_region

                raise other_region(f"{operation} {key or '/'} in {self._requests.where}", region) from error
            raise

    def _direct_reader(self) -> DirectReader | None:
        network_loop()  # raises in a forked child, where the client that signs cannot be used
        with self._making_direct:
            if self._direct is None and self._read_url:
                from cas.bucket.http.reader import DirectReader

                self._direct = DirectReader(
                    lambda key: self.signed_url(key, _DIRECT_SECONDS),
                    self._requests.policy,
                    may_redirect=self.url.startswith("http"),
                    ca_bundle=self._ca_bundle(),
                )
            return self._direct

    async def _must_show_something(self, prefix: str, stretch: float) -> None:
        """Raise Transient when the bucket lists nothing, though an object is known to be there.

        obstore takes any well-formed document for an empty listing, such as a proxy's error page with status 200.
        """
        if await self._requests.looks_empty(f"list {prefix}", stretch):
            raise Transient(
                f"list {prefix} in {self._requests.where}: the listing is empty, "
                f"though {self._witness} is there: check the endpoint"
            )

    def _overwrite(self, key: str, data: Buffer, kind: Kind) -> bool:
        self._call("put", key, lambda stretch: self._requests.put("put", key, data, kind, stretch))
        self._witness = key
        return True

    def _put_after_look(self, key: str, data: Buffer, kind: Kind) -> bool:
        """Write an object unless there is one.

        For servers that know no conditional write, and for a conditional write that the server refused: the object that
        it met may be our own, from an attempt whose answer was lost.
        """
        try:
            return self._holds(key, data)
        except ObjectMissing:
            if not self._created:
                self._conditional = False  # the server said that the object was there (412), and it is not
            return self._overwrite(key, data, kind)

    def _holds(self, key: str, data: Buffer) -> bool:
        try:
            return self.get(key, limit=len(data)) == data
        except ObjectTooLarge:
            return False

    def _must_be_writable(self, operation: str, key: str) -> None:
        if not self._writable:
            raise Unsupported(
                f"{operation} {key}: {self.url} is read only over https: use its s3:// URL to publish or list, "
                "and name versions by digest (model@blake3:…) to restore"
            )
