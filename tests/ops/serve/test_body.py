"""A body whose bytes end early: its end is never told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from cas.ops.serve.body import PIECE, FileBody


def sent(pieces: list[bytes], length: int) -> tuple[bytes, bool, list[BaseException]]:
    """What goes out of a body that promises `length` bytes: the bytes, whether their end is told, and failures."""
    messages: list[MutableMapping[str, Any]] = []
    failures: list[BaseException] = []

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    async def run() -> None:
        body = FileBody(200, {"Content-Length": str(length)}, stream(), lambda count: None, failures.append)
        await body({"type": "http"}, asyncio.Event().wait, send)  # type: ignore[arg-type]

    asyncio.run(run())
    bodies = messages[1:]
    assert all(len(message["body"]) <= PIECE for message in bodies)
    ended = bool(bodies) and not bodies[-1].get("more_body", False)
    return b"".join(bytes(message["body"]) for message in bodies), ended, failures


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"bc"], [b"x" * (PIECE + 1), b"y"], []])
def test_a_whole_body_is_told_to_be_whole(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert sent(pieces, len(data)) == (data, True, [])


@pytest.mark.parametrize("pieces", [[b"abc"], [], [b"x" * PIECE]])
def test_a_body_that_ends_early_is_not(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    out, ended, failures = sent(pieces, len(data) + 1)
    assert (out, ended) == (data, False)
    assert [type(failure) for failure in failures] == [EOFError]
