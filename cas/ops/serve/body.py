"""A file's bytes on their way to a client: which range was asked for, and sending it piece by piece.

A length is promised before the first byte goes out. When the bytes end early, the connection is closed before the
promised length is reached, which every client takes for a failure: a short file is never taken for a whole one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from cas.formats.digest import Buffer
from cas.ops.serve.answers import Refusal

PIECE = 512 * 1024
"""Bytes that are handed to the network at once. A client that reads nothing holds one piece in memory."""

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.ASCII)


class Span(NamedTuple):
    """The bytes of a file that an answer holds.

    Attributes:
        start: offset of the first byte.
        stop: offset behind the last byte.
        partial: whether a range was asked for, so that the status is 206.
    """

    start: int
    stop: int
    partial: bool


def span_of(headers: Mapping[str, str], size: int, etag: str) -> Span:
    """The part of a file that a request's headers ask for.

    A header that is no single range of bytes (several ranges, another unit, the end before the start) asks for the
    whole file, as RFC 9110 (14.2) allows: so nobody can have one file sent many times over by one request.

    Args:
        headers: the request's, by lower-case names.
        size: of the file, in bytes.
        etag: the file's, in quotes.

    Raises:
        Refusal: the range begins at the file's end or behind it.
    """
    match = _RANGE.fullmatch(headers.get("range", ""))
    if match is None or match[0].endswith("=-") or headers.get("if-range", etag) != etag:
        return Span(0, size, partial=False)
    first, last = match.groups()
    if not first and not last:
        return Span(0, size, partial=False)
    if not first:  # the last N bytes
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return Span(0, size, partial=False)
    if start >= stop:
        message = f"the file has {size} bytes, none of them in {headers['range']}"
        raise Refusal(416, "", message, {"Content-Range": f"bytes */{size}"})
    return Span(start, stop, partial=True)


def is_unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the client says that it has this content (If-None-Match).

    Raises:
        Refusal: the client wants no other content than one that this is not (If-Match).
    """
    if (wanted := headers.get("if-match")) and not _names(wanted, etag):
        raise Refusal(412, "", "the file has other content than If-Match names")
    return _names(headers.get("if-none-match", ""), etag)


def _names(header: str, etag: str) -> bool:
    return any(name.strip().removeprefix("W/") in (etag, "*") for name in header.split(","))


class FileBody:
    """An answer whose body comes in pieces; an ASGI application.

    Args:
        status: 200 or 206.
        headers: all of them, Content-Length too.
        pieces: the bytes, as many as Content-Length says. An error before the first piece is raised to the caller, who
            answers it; a later one closes the connection.
        count: told of the bytes of each piece that was sent.
        failed: told of the error that closes the connection.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        pieces: AsyncIterator[Buffer],
        count: Callable[[int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._status, self._headers, self._pieces = status, headers, pieces
        self._count, self._failed = count, failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; stop reading as soon as the client is gone."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            if close := getattr(self._pieces, "aclose", None):
                await close()

    async def _send(self, send: Send) -> None:
        first = await anext(self._pieces, None)  # an error here becomes an answer: nothing has been sent yet
        await send({"type": "http.response.start", "status": self._status, "headers": raw_headers(self._headers)})
        left = int(self._headers["Content-Length"])
        try:
            piece = first
            while piece is not None:
                left -= len(piece)
                await self._send_piece(memoryview(piece), send, last=left == 0)
                piece = await anext(self._pieces, None) if left > 0 else None
            if left:
                raise EOFError(f"the body ends {left} bytes early")
            if first is None:
                await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Returning without the last piece makes the server close the connection.
            self._failed(error)

    async def _send_piece(self, piece: memoryview, send: Send, *, last: bool) -> None:
        for at in range(0, len(piece), PIECE):
            part = piece[at : at + PIECE]
            more = not last or at + PIECE < len(piece)
            await send({"type": "http.response.body", "body": part, "more_body": more})
            self._count(len(part))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
