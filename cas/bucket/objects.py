"""A bucket over obstore: one client for S3, https, a directory and memory.

Requests run on one event loop in a thread of its own, which gives every one a deadline; callers stay
synchronous and do their hashing and decoding in their own threads. (Over TLS obstore's asynchronous
calls move twice as many bytes as its blocking ones: docs/decisions/0003-async-inside-sync-outside.md.)
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeVar

import obstore
from obstore.store import ObjectStore

from cas.bucket.answers import translate
from cas.bucket.base import Bucket, Entry, Kind
from cas.bucket.patience import Patience, persist, within
from cas.digest import Buffer
from cas.errors import CasError, ObjectExists, ObjectMissing, ObjectTooLarge, Transient, Unsupported

T = TypeVar("T")


class ObjectBucket(Bucket):
    """An obstore store under deadlines and retries."""

    def __init__(
        self,
        url: str,
        connect: Callable[[bool], ObjectStore],
        patience: Patience,
        *,
        conditional: bool = True,
        headers: bool = True,
        writable: bool = True,
        endpoint: str = "",
    ) -> None:
        """connect: makes a client; given True, one for reading, which leaves silent connections.

        conditional: whether the server is believed to honour `If-None-Match: *` on writes; unlearnt at
        the first 501. headers: whether it keeps Content-Type and Cache-Control. writable: False refuses
        writes and listings before any request. endpoint: named in errors beside the URL.
        """
        self.url = url
        self._where = f"{url} at {endpoint}" if endpoint else url
        self._connect = connect
        self._patience = patience
        self._conditional = conditional
        self._headers = headers
        self._writable = writable
        self._clients: dict[bool, ObjectStore] = {}

    def get(self, key: str, limit: int) -> Buffer:
        return self._call("get", key, lambda stretch: self._get(key, limit, stretch))

    def head(self, key: str) -> Entry:
        async def attempt(stretch: float) -> Entry:
            meta = await within(
                self._patience.answer * stretch,
                f"head {key} in {self._where}",
                obstore.head_async(self._client(True), key),
            )
            return Entry(key, meta["size"], meta["last_modified"])

        return self._call("head", key, attempt)

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        self._must_be_writable("put", key)
        if overwrite:
            self._call("put", key, lambda stretch: self._put(key, data, kind, "overwrite", stretch))
            return True
        if not self._conditional:
            return self._put_after_look(key, data, kind)
        try:
            self._call("put", key, lambda stretch: self._put(key, data, kind, "create", stretch))
        except Unsupported:
            # Backblaze B2 answers 501 to a conditional write, whatever is written.
            self._conditional = False
            return self._put_after_look(key, data, kind)
        except ObjectExists:
            return self._settle(key, data, kind)
        return True

    def list(self, prefix: str) -> list[Entry]:
        self._must_be_writable("list", prefix)

        async def attempt(stretch: float) -> list[Entry]:
            found: list[Entry] = []
            pages = obstore.list(self._client(True), prefix.rstrip("/") or None, chunk_size=1000)
            while True:
                what = f"list {prefix} in {self._where}"
                page = await within(self._patience.answer * stretch, what, _next_page(pages))
                if page is None:
                    return sorted(found)
                found += [Entry(meta["path"], meta["size"], meta["last_modified"]) for meta in page]

        return self._call("list", prefix, attempt)

    def delete(self, key: str) -> None:
        self._must_be_writable("delete", key)

        async def attempt(stretch: float) -> None:
            what = f"delete {key} in {self._where}"
            await within(self._patience.answer * stretch, what, obstore.delete_async(self._client(True), key))

        try:
            self._call("delete", key, attempt)
        except ObjectMissing:
            return

    async def _get(self, key: str, limit: int, stretch: float) -> Buffer:
        what = f"get {key} in {self._where}"
        request = obstore.get_async(self._client(True), key)
        result = await within(self._patience.answer * stretch, what, request)
        size = result.meta["size"]
        if size > limit:
            raise ObjectTooLarge(key, self._where, size, limit)
        return await self._body(result, size, what, stretch)

    async def _body(self, result: Any, size: int, what: str, stretch: float) -> Buffer:
        patience = self._patience
        body, at = bytearray(size), 0
        pieces = aiter(result.stream(min_chunk_size=patience.piece))
        while (piece := await within(patience.piece_time * stretch, what, anext(pieces, None))) is not None:
            end = at + len(piece)
            if end > size:
                raise Transient(f"{what}: more than the announced {size} bytes came")
            body[at:end] = memoryview(piece)
            at = end
        if at != size:
            raise Transient(f"{what}: {at} of {size} bytes came")
        return body

    async def _put(
        self, key: str, data: Buffer, kind: Kind, mode: Literal["create", "overwrite"], stretch: float
    ) -> None:
        seconds = (self._patience.answer + len(data) / self._patience.upload_rate) * stretch
        attributes = kind.headers if self._headers else None
        # One request whatever the size: a chunk is never worth a multipart upload that could be left behind.
        request = obstore.put_async(
            self._client(False),
            key,
            data if isinstance(data, bytes) else bytes(data),
            attributes=attributes,
            mode=mode,
            use_multipart=False,
        )
        await within(seconds, f"put {key} in {self._where}", request)

    def _put_after_look(self, key: str, data: Buffer, kind: Kind) -> bool:
        if self.exists(key):
            return False
        self._call("put", key, lambda stretch: self._put(key, data, kind, "overwrite", stretch))
        return True

    def _settle(self, key: str, data: Buffer, kind: Kind) -> bool:
        """After a refusal to create, the outcome is unknown: it may be our own write whose answer was lost."""
        try:
            existing = self.get(key, limit=max(len(data), 1) * 2 + 1024)
        except ObjectMissing:
            # A 409 about a concurrent write that then failed: nobody wrote it.
            return self._put_after_look(key, data, kind)
        except ObjectTooLarge:
            return False
        return existing == data

    def _must_be_writable(self, verb: str, key: str) -> None:
        if not self._writable:
            raise Unsupported(
                f"{verb} {key}: {self.url} is read only over https: use its s3:// URL to publish or list, "
                "and name versions by digest (model@blake3:…) to restore"
            )

    def _client(self, reading: bool) -> ObjectStore:
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
                raise translate(error, key, self._where, verb) from error

        return _run(persist(self._patience, translated))


async def _next_page(pages: Any) -> Any:
    return await anext(pages, None)


_loops: dict[int, asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, run on this process's network loop; cancels it when the caller is interrupted."""
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _loop() -> asyncio.AbstractEventLoop:
    # Keyed by process: a forked child inherits the loop object but not the thread that runs it.
    with _starting:
        if os.getpid() not in _loops:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="cas-network", daemon=True)
            thread.start()
            atexit.register(_stop, loop, thread)
            _loops[os.getpid()] = loop
        return _loops[os.getpid()]


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=2)
