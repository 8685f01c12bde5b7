"""Readers of a server's content, and what its cache holds: for the tests beside this module."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cas.errors import CasError
from cas.formats.manifest import RepoFile
from cas.host import Limits
from cas.ops.serve.content import Content
from tests.support.models import KIB, noise

CHUNK = 64 * KIB
CHUNKS = 12
DATA = noise(CHUNKS * CHUNK - 100)
ONE_AT_A_TIME = Limits(requests=1)


class Got:
    """What a reader got: the bytes, and the error that ended them."""

    def __init__(self) -> None:
        self.data, self.error = b"", None

    data: bytes
    error: CasError | None


async def read(content: Content, file: RepoFile, start: int = 0, stop: int | None = None) -> Got:
    got = Got()
    try:
        async for piece in content.stream(file, start, file.size if stop is None else stop):
            got.data += piece
    except CasError as error:
        got.error = error
    return got


def run(content: Content, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run readers on an event loop, and end the content afterwards."""
    try:
        asyncio.run(work())
    finally:
        content.close()


def cached(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if len(path.name) == 64]


def taken(folder: Path) -> int:
    """Bytes of the files in a cache, some of which may go meanwhile."""
    total = 0
    for path in cached(folder):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
