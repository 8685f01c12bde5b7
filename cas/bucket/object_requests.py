"""The requests of a bucket over obstore: each has a deadline, is retried, and fails with an error of this package.

The requests run on one event loop in a thread of its own: a deadline must cut a request from outside, which a blocking
call does not allow. Callers stay synchronous and do their hashing and decoding in their own threads. (Over TLS the
asynchronous calls of obstore move twice as many bytes as its blocking ones:
docs/decisions/0003-async-inside-sync-outside.md.)
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import obstore
from obstore.store import ObjectStore

from cas.bucket.base import Entries, Entry, Kind, ObjectRange
from cas.bucket.event_loop import run_on_network_loop
from cas.bucket.retry import RetryPolicy, retry, with_timeout
from cas.errors import CasError, ForeignKey, ObjectTooLarge, StoreError, Transient
from cas.formats.digest import Buffer

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta

    from cas.bucket.listing import ForeignNames, Listing

T = TypeVar("T")


class ObjectRequests:
    """One bucket's requests. `call` runs a request until it succeeds; every other request method is one attempt.

    An attempt gets `stretch`, the factor by which its time limits grow after an attempt that was cut for slowness.

    Attributes:
        policy: time limits and retries.
        where: the bucket's URL and endpoint, named in errors.
    """

    def __init__(
        self,
        connect: Callable[[bool], ObjectStore],
        policy: RetryPolicy,
        where: str,
        *,
        stores_headers: bool,
        connect_with_checksums: Callable[[], ObjectStore] | None = None,
    ) -> None:
        """Make no request yet.

        Args:
            connect: makes a client. Given True, it makes one for requests without a body, which leaves a connection
                that has fallen silent.
            policy: time limits and retries.
            where: the bucket's URL and endpoint, named in errors.
            stores_headers: whether the bucket keeps Content-Type and Cache-Control with an object.
            connect_with_checksums: makes a client whose writes carry checksums, for a bucket that refuses others; None
                where there is no such client.
        """
        self.policy, self.where = policy, where
        self._connect, self._connect_with_checksums = connect, connect_with_checksums
        self._stores_headers = stores_headers
        self._clients: dict[bool, ObjectStore] = {}
        self._connecting = threading.Lock()
        self._foreign: ForeignNames | None = None

    def client(self, *, reading: bool) -> ObjectStore:
        """Return obstore's client. reading: the one for requests without a body."""
        with self._connecting:
            if reading not in self._clients:
                self._clients[reading] = self._connect(reading)
            return self._clients[reading]

    @property
    def foreign(self) -> ForeignNames:
        """Names the foreign objects that listings of this bucket leave out."""
        if self._foreign is None:
            from cas.bucket.listing import ForeignNames

            self._foreign = ForeignNames(self.where)
        return self._foreign

    def call(self, operation: str, key: str, attempt: Callable[[float], Awaitable[T]]) -> T:
        """Return the result of `attempt`, repeated as the retry policy says.

        Args:
            operation: what the attempt does, as `obstore_error` takes it.
            key: the object that it does it to.
            attempt: starts one attempt, given `stretch`.
        """

        async def translated(stretch: float) -> T:
            with self.translated_errors(operation, key):
                return await attempt(stretch)

        return run_on_network_loop(retry(self.policy, translated))

    @contextlib.contextmanager
    def translated_errors(self, operation: str, key: str) -> Iterator[None]:
        """Raise errors of obstore inside the `with` block as errors of this package."""
        try:
            yield
        except CasError:
            raise
        except Exception as error:
            from cas.bucket.errors.clients import is_panic, obstore_error

            if is_panic(error):
                raise self._panic(operation, key, error) from error
            raise obstore_error(error, key, self.where, operation) from error
        except BaseException as error:
            from cas.bucket.errors.clients import is_panic

            if is_panic(error):
                raise self._panic(operation, key, error) from error
            raise

    async def get(self, key: str, limit: int, stretch: float) -> Buffer:
        """Read an object; raises ObjectTooLarge when it has more than `limit` bytes."""
        result = await self.begin_get(key, stretch)
        size = result.meta["size"]
        if size > limit:
            raise ObjectTooLarge(key, self.where, size, limit)
        return await self._body(result, key, size, stretch)

    async def get_range(self, key: str, start: int, size: int, stretch: float) -> ObjectRange:
        """Read `size` bytes of an object from `start` on; raises StoreError when it ends before."""
        result = await self.begin_get(key, stretch, span=(start, start + size))
        whole = result.meta["size"]
        if whole < start + size:
            raise StoreError(
                f"get {key} in {self.where}: it has {whole} bytes, and bytes up to {start + size} were asked for"
            )
        return ObjectRange(await self._body(result, key, size, stretch), whole, _tag(result.meta))

    async def begin_get(
        self, key: str, stretch: float, *, head: bool = False, span: tuple[int, int] | None = None
    ) -> GetResult:
        """Read the headers of an answer and leave its body.

        Args:
            key: the object.
            stretch: of the time limit.
            head: send HEAD, whose answer has no body.
            span: the first byte to read, and the one after the last.
        """
        options: GetOptions = {"head": head} if span is None else {"range": span}
        request = obstore.get_async(self.client(reading=True), key, options=options)
        return await self._answer(f"{'head' if head else 'get'} {key}", request, stretch)

    async def head(self, key: str, stretch: float) -> Entry:
        """Read the size, age and etag of an object."""
        answer = await self.begin_get(key, stretch, head=True)
        entry = Entry(key, answer.meta["size"], answer.meta["last_modified"], _tag(answer.meta))
        # obstore makes up 1970 where Last-Modified is missing, a header that S3 and every file server send.
        if "html" in str(answer.attributes.get("Content-Type")) or entry.modified.timestamp() == 0:
            raise Transient(
                f"head {key} in {self.where}: a web page answered instead of the object: check the endpoint"
            )
        return entry

    async def put(
        self, operation: Literal["create", "put"], key: str, data: Buffer, kind: Kind, stretch: float
    ) -> None:
        """Write an object. operation: `create` makes the server refuse to replace an object, `put` does not.

        A bucket with Object Lock wants a checksum with each write, which costs the hash of the object: it is sent from
        the first refusal on.
        """
        client = self.client(reading=False)
        try:
            await self._put(client, operation, key, data, kind, stretch)
        except Exception as error:
            if self._connect_with_checksums is None or not _wants_checksum(str(error)):
                raise
            with self._connecting:
                if self._clients[False] is client:
                    self._clients[False] = self._connect_with_checksums()
            await self._put(self._clients[False], operation, key, data, kind, stretch)

    async def _put(
        self, client: ObjectStore, operation: str, key: str, data: Buffer, kind: Kind, stretch: float
    ) -> None:
        attributes: Any = kind.headers if self._stores_headers else None
        # One request whatever the size: for a chunk, a multipart upload is not worth what an interrupt leaves behind.
        request = obstore.put_async(
            client,
            key,
            data,
            attributes=attributes,
            mode="create" if operation == "create" else "overwrite",
            use_multipart=False,
        )
        await with_timeout(self.policy.body(len(data), stretch), f"{operation} {key} in {self.where}", request)

    def listing(self, prefix: str) -> Listing:
        """Begin the listing of a folder; make no request yet."""
        from cas.bucket.listing import Listing

        return Listing(prefix.strip("/"), self.where, self.foreign)

    async def next_page(self, listing: Listing, stretch: float) -> Entries | None:
        """Read some more of a listing, without foreign objects; None at its end.

        After an error, another attempt goes on behind the last key: what is tried again is the page, not the listing,
        which a server that fails every third request would never show as a whole.

        Raises:
            CannotResume: the server begins anew instead.
            ForeignKey: a key in it cannot be read by obstore.
            ListingUnbounded: it does not go on, or does not end.
        """
        stream = listing.stream or listing.begin_stream(
            obstore.list(
                self.client(reading=True),
                listing.prefix or None,
                offset=listing.last or None,
                chunk_size=listing.batch,
            )
        )
        try:
            page = await self._answer(f"list {listing.prefix}", _next_batch(stream), stretch)
        except BaseException:
            listing.break_off()
            raise
        if page is None:
            return None
        return listing.add([Entry(meta["path"], meta["size"], meta["last_modified"], _tag(meta)) for meta in page])

    async def looks_empty(self, what: str, stretch: float) -> bool:
        """Read whether the bucket lists nothing at all. what: what it is asked for, named in errors."""
        stream = obstore.list(self.client(reading=True), chunk_size=1)
        try:
            with self.translated_errors("list", ""):
                return not await self._answer(what, _next_batch(stream), stretch)
        except ForeignKey:
            return False

    async def delete(self, key: str, stretch: float) -> None:
        """Remove an object."""
        await self._answer(f"delete {key}", obstore.delete_async(self.client(reading=True), key), stretch)

    def _panic(self, operation: str, key: str, error: BaseException) -> StoreError:
        return StoreError(
            f"{operation} {key or '/'} in {self.where}: the storage library failed ({error}): report it, with the line "
            "that it printed"
        )

    async def _answer(self, what: str, request: Awaitable[T], stretch: float) -> T:
        return await with_timeout(self.policy.answer * stretch, f"{what} in {self.where}", request)

    async def _body(self, result: GetResult, key: str, size: int, stretch: float) -> Buffer:
        what = f"get {key} in {self.where}"
        # The body in one piece: taken as a stream and joined here it costs twice the CPU (docs/performance.md).
        body = await with_timeout(self.policy.body(size, stretch), what, result.bytes_async())
        if len(body) != size:
            raise Transient(f"{what}: {len(body)} of {size} bytes came")
        return memoryview(body)


def _wants_checksum(said: str) -> bool:
    """Whether a server refuses a write for want of a checksum, in the words of AWS and Backblaze B2."""
    return bool(re.search("(?i)content-md5|x-amz-checksum", said) and re.search("(?i)required|missing", said))


async def _next_batch(stream: Any) -> Any:
    return await anext(stream, None)


def _tag(meta: ObjectMeta) -> str:
    return (meta["e_tag"] or "").strip('"')
