"""A bucket over obstore: one client for S3, https, a directory and memory.

Requests run on one event loop in a thread of its own, which gives every one a deadline; callers stay
synchronous and do their hashing and decoding in their own threads. (Over TLS obstore's asynchronous
calls move twice as many bytes as its blocking ones: docs/decisions/0003-async-inside-sync-outside.md.)
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import obstore
from obstore.store import ObjectStore

from cas.bucket.base import Bucket, Entry, Kind, MultipartUpload, MultipartUploads, ObjectRange, Stored, Versions
from cas.bucket.errors import obstore_error
from cas.bucket.event_loop import loop, run
from cas.bucket.retry import RetryPolicy, retry, with_timeout
from cas.errors import CasError, ObjectExists, ObjectMissing, ObjectTooLarge, StoreError, Transient, Unsupported
from cas.formats.digest import Buffer

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta

    from cas.bucket.http_reader import DirectReader
    from cas.bucket.s3_admin import S3Admin

T = TypeVar("T")
Entries: TypeAlias = list[Entry]  # inside the class, `list` is its method


class ObjectBucket(Bucket):
    """An obstore store under deadlines and retries."""

    def __init__(
        self,
        url: str,
        connect: Callable[[bool], ObjectStore],
        policy: RetryPolicy,
        *,
        conditional: bool = True,
        remote: bool = True,
        writable: bool = True,
        endpoint: str = "",
        address: Callable[[ObjectStore, str], str] | None = None,
        s3_admin: S3Admin | None = None,
    ) -> None:
        """connect: makes a client; given True, one for reading, which leaves silent connections.

        conditional: whether the server is believed to honour `If-None-Match: *` on writes; unlearnt at
        the first 501. remote: whether a server answers, which keeps Content-Type and Cache-Control, and whose
        word that something is absent is put to the test. writable: False refuses writes and listings
        before any request. endpoint: named in errors beside the URL. address: the URL under which a client's key
        can be read without it, past obstore (direct.py). s3_admin: for what obstore does not offer.
        """
        self.url = url
        self._where = f"{url} at {endpoint}" if endpoint else url
        self._connect = connect
        self._policy = policy
        self._conditional = conditional
        self._remote = remote
        self._writable = writable
        self._clients: dict[bool, ObjectStore] = {}
        self._connecting = threading.Lock()
        self._address = address
        self._direct: DirectReader | None = None
        self._s3_admin = s3_admin
        self._witness = ""  # a key that has been read here, or written

    def get(self, key: str, limit: int) -> Buffer:
        data = self._call("get", key, lambda stretch: self._get(key, limit, stretch))
        self._witness = key
        return data

    def get_into(self, key: str, into: memoryview) -> int:
        direct = self._reader()
        size = direct.read(key, into) if direct else None
        if size is None:
            return super().get_into(key, into)
        self._witness = key
        return size

    def get_range(self, key: str, start: int, size: int) -> ObjectRange:
        return self._call("get", key, lambda stretch: self._get_range(key, start, size, stretch))

    def _reader(self) -> DirectReader | None:
        loop()  # says so in a forked child, which cannot use the client that signs either
        with self._connecting:
            if self._direct is None and (address := self._address):
                from cas.bucket.http_reader import DirectReader

                self._direct = DirectReader(lambda key: address(self._client(True), key), self._policy)
            return self._direct

    def head(self, key: str) -> Entry:
        try:
            return self._call("head", key, lambda stretch: self._head(key, stretch))
        except ObjectMissing:
            if self._remote and not self._witness:
                # The answer to HEAD has no body that could say that the bucket is what is missing.
                self._call("get", key, lambda stretch: self._answer(key, f"get {key} in {self._where}", stretch))
            raise

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        self._must_be_writable("put", key)
        if overwrite:
            return self._overwrite(key, data, kind)
        if not self._conditional:
            return self._put_after_look(key, data, kind)
        try:
            self._call("create", key, lambda stretch: self._put("create", key, data, kind, stretch))
        except Unsupported:
            # Backblaze B2 answers 501 to a conditional write, whatever is written.
            self._conditional = False
            return self._put_after_look(key, data, kind)
        except ObjectExists:
            # Or a conflict with a concurrent write, which may fail yet.
            return self._put_after_look(key, data, kind)
        self._witness = key
        return True

    def list(self, prefix: str) -> list[Entry]:
        self._must_be_writable("list", prefix)

        async def attempt(stretch: float) -> list[Entry]:
            found = await self._list(prefix, stretch)
            if not found and self._remote and self._witness:
                await self._must_show_something(prefix, stretch)
                found = await self._list(prefix, stretch)
            return found

        return self._call("list", prefix, attempt)

    def delete(self, key: str) -> None:
        self._must_be_writable("delete", key)

        async def attempt(stretch: float) -> None:
            what = f"delete {key} in {self._where}"
            await with_timeout(self._policy.answer * stretch, what, obstore.delete_async(self._client(True), key))

        if key == self._witness:
            self._witness = ""
        try:
            self._call("delete", key, attempt)
        except ObjectMissing:
            return

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

    async def _answer(
        self, key: str, what: str, stretch: float, *, head: bool = False, span: tuple[int, int] | None = None
    ) -> GetResult:
        options: GetOptions = {"head": head} if span is None else {"range": span}
        request = obstore.get_async(self._client(True), key, options=options)
        return await with_timeout(self._policy.answer * stretch, what, request)

    async def _head(self, key: str, stretch: float) -> Entry:
        what = f"head {key} in {self._where}"
        answer = await self._answer(key, what, stretch, head=True)
        entry = Entry(key, answer.meta["size"], answer.meta["last_modified"], _tag(answer.meta))
        # obstore makes up 1970 where Last-Modified is missing, which S3 and every file server send.
        if "html" in str(answer.attributes.get("Content-Type")) or entry.modified.timestamp() == 0:
            raise Transient(f"{what}: a web page answered instead of the object: check the endpoint")
        return entry

    async def _list(self, prefix: str, stretch: float) -> Entries:
        found: list[Entry] = []
        pages = obstore.list(self._client(True), prefix.rstrip("/") or None, chunk_size=1000)
        while True:
            what = f"list {prefix} in {self._where}"
            page = await with_timeout(self._policy.answer * stretch, what, _next_page(pages))
            if page is None:
                return sorted(found)
            found += [Entry(meta["path"], meta["size"], meta["last_modified"], _tag(meta)) for meta in page]

    async def _must_show_something(self, prefix: str, stretch: float) -> None:
        """Raises Transient when listings hide an object known to be there.

        obstore takes any well-formed document for an empty listing, such as a proxy's error page with status 200.
        """
        what = f"list {prefix} in {self._where}"
        top = await with_timeout(
            self._policy.answer * stretch, what, obstore.list_with_delimiter_async(self._client(True))
        )
        if not top["objects"] and not top["common_prefixes"]:
            raise Transient(f"{what}: the listing is empty, though {self._witness} is there: check the endpoint")

    async def _get(self, key: str, limit: int, stretch: float) -> Buffer:
        what = f"get {key} in {self._where}"
        result = await self._answer(key, what, stretch)
        size = result.meta["size"]
        if size > limit:
            raise ObjectTooLarge(key, self._where, size, limit)
        # The body in one piece: taken as a stream and joined here it costs twice the CPU (docs/performance.md).
        body = await with_timeout(self._policy.body(size, stretch), what, result.bytes_async())
        if len(body) != size:
            raise Transient(f"{what}: {len(body)} of {size} bytes came")
        return memoryview(body)

    async def _get_range(self, key: str, start: int, size: int, stretch: float) -> ObjectRange:
        what = f"get {key} in {self._where}"
        result = await self._answer(key, what, stretch, span=(start, start + size))
        whole = result.meta["size"]
        if whole < start + size:
            raise StoreError(f"{what}: it has {whole} bytes, and bytes up to {start + size} were asked for")
        body = await with_timeout(self._policy.body(size, stretch), what, result.bytes_async())
        if len(body) != size:
            raise Transient(f"{what}: {len(body)} of {size} bytes came")
        return ObjectRange(memoryview(body), whole, _tag(result.meta))

    async def _put(self, verb: Literal["create", "put"], key: str, data: Buffer, kind: Kind, stretch: float) -> None:
        attributes: Any = kind.headers if self._remote else None
        # One request whatever the size: a chunk is never worth a multipart upload that could be left behind.
        request = obstore.put_async(
            self._client(False),
            key,
            data,
            attributes=attributes,
            mode="create" if verb == "create" else "overwrite",
            use_multipart=False,
        )
        await with_timeout(self._policy.body(len(data), stretch), f"{verb} {key} in {self._where}", request)

    def _overwrite(self, key: str, data: Buffer, kind: Kind) -> bool:
        self._call("put", key, lambda stretch: self._put("put", key, data, kind, stretch))
        self._witness = key
        return True

    def _put_after_look(self, key: str, data: Buffer, kind: Kind) -> bool:
        """A write where the server cannot be asked to create only, or refused to and may hold our own lost write."""
        try:
            return self._holds(key, data)
        except ObjectMissing:
            return self._overwrite(key, data, kind)

    def _holds(self, key: str, data: Buffer) -> bool:
        try:
            return self.get(key, limit=len(data)) == data
        except ObjectTooLarge:
            return False

    def _must_be_writable(self, verb: str, key: str) -> None:
        if not self._writable:
            raise Unsupported(
                f"{verb} {key}: {self.url} is read only over https: use its s3:// URL to publish or list, "
                "and name versions by digest (model@blake3:…) to restore"
            )

    def _client(self, reading: bool) -> ObjectStore:
        with self._connecting:
            if reading not in self._clients:
                self._clients[reading] = self._connect(reading)
            return self._clients[reading]

    def _call(self, verb: str, key: str, attempt: Callable[[float], Awaitable[T]]) -> T:
        async def translated(stretch: float) -> T:
            try:
                return await attempt(stretch)
            except CasError:
                raise
            except Exception as error:
                raise obstore_error(error, key, self._where, verb) from error

        return run(loop(), retry(self._policy, translated))


async def _next_page(pages: Any) -> Any:
    return await anext(pages, None)


def _tag(meta: ObjectMeta) -> str:
    return (meta["e_tag"] or "").strip('"')
