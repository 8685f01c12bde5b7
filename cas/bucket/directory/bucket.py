"""The bucket of a directory. What it reads goes straight into memory; what it writes survives a power cut.

    write     a file of another name, fsync, then a link or a rename gives it its own name
    settle    fsync of every folder in which this process made, removed or found a name since the last time

So a name never stands for bytes that are not on the disk, whoever reads it and whenever the power fails; and after
`settle` the names are on the disk, too. A read only takes a note of the folder, so a restore pays nothing for it.
`cas.bucket.directory.durable` does the writing, and is imported when something is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from obstore.store import MemoryStore, ObjectStore

from cas.bucket.base import Entries, Entry, Kind
from cas.bucket.event_loop import run_on_network_loop
from cas.bucket.object_requests import ObjectRequests
from cas.bucket.object_store import ObjectBucket
from cas.bucket.retry import RetryPolicy, retry, with_timeout
from cas.errors import CacheError
from cas.formats.digest import Buffer

if TYPE_CHECKING:
    from obstore import GetResult

    from cas.bucket.body import Body
    from cas.bucket.directory.durable import DurableDirectory


class DirectoryBucket(ObjectBucket):
    """A directory. Its files are read straight into the caller's memory, and are on the disk before they get a name."""

    def __init__(self, path: str, requests: DirectoryRequests) -> None:
        """Make no request yet. path: of the directory, absolute; requests: those to it."""
        super().__init__(path, requests, remote=False)
        self._directory = requests

    def get(self, key: str, limit: int) -> Buffer:
        data = super().get(key, limit)
        self._directory.note([os.path.dirname(key)])
        return data

    def get_into(self, key: str, into: memoryview, body: Body | None = None) -> int:
        try:
            with open(os.path.join(self.url, key), "rb", buffering=0, opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                size = status.st_size
                if (
                    stat.S_ISREG(status.st_mode)
                    and size <= len(into)
                    and os.preadv(file.fileno(), [into[:size]], 0) == size
                ):
                    return size
        except OSError:
            pass  # the read by obstore, which follows, reports the error
        return super().get_into(key, into, body)

    def head(self, key: str) -> Entry:
        # A publish looks a thousand chunks up twice: through the network loop and obstore, each takes 25 times as long.
        entry = self._file(key) or super().head(key)
        self._directory.note([os.path.dirname(key)])
        return entry

    def _file(self, key: str) -> Entry | None:
        """The entry of a regular file; None for anything else, which obstore tells apart."""
        from cas.bucket.directory.durable import DurableDirectory
        from cas.bucket.directory.listing import entry_of

        if not DurableDirectory.can_write(key):
            return None  # its path is not its key
        with contextlib.suppress(OSError):
            status = os.stat(os.path.join(self.url, key))
            if stat.S_ISREG(status.st_mode):
                return entry_of(key, status)
        return None

    def pages(self, prefix: str) -> Iterator[Entries]:
        from cas.bucket.directory.listing import list_directory

        note = self._directory.note
        # Not by obstore: one strange file would hide all others.
        listed = list_directory(
            Path(self.url), prefix.strip("/"), self._directory.foreign, lambda folder: note([folder])
        )
        while page := run_on_network_loop(self._directory.next_files(listed, prefix)):
            yield page

    def delete(self, key: str) -> None:
        super().delete(key)
        self._directory.note([os.path.dirname(key)])

    def settle(self) -> None:
        run_on_network_loop(retry(self._directory.policy, self._directory.settle))


class DirectoryRequests(ObjectRequests):
    """Requests to a directory, which may appear while this process runs. obstore does all but listing and writing."""

    def __init__(self, connect: Callable[[bool], ObjectStore], policy: RetryPolicy, root: Path) -> None:
        """Make no request yet. connect: makes a client; policy: time limits and retries; root: the directory."""
        super().__init__(connect, policy, str(root), stores_headers=False)
        self._root = root
        self._guard = threading.Lock()
        self._unsettled: set[str] = set()
        self._durable: DurableDirectory | None = None

    def note(self, folders: Iterable[str]) -> None:
        """Remember folders (parents of keys) in which names were made, removed or found, for the next `settle`.

        A name that was found counts, too: its writer may not have settled it, or was killed before that. Call this
        after the name is seen, so that no `settle` of another thread comes between.
        """
        with self._guard:
            self._unsettled.update(folders)

    async def settle(self, stretch: float) -> None:
        """Make the names in all folders that were noted durable."""
        from cas.bucket.listing import MAX_SECONDS

        durable = self._writer()
        settling = durable.run(durable.settle, self._take_notes, self.note)
        await with_timeout(MAX_SECONDS * stretch, f"settle in {self.where}", settling)

    async def put(
        self, operation: Literal["create", "put"], key: str, data: Buffer, kind: Kind, stretch: float
    ) -> None:
        durable = self._writer()
        if durable.can_write(key):
            self.client(reading=False)  # makes the directory
            abandoned = threading.Event()
            writing = durable.run(durable.write, key, data, operation == "put", abandoned)
            try:
                await with_timeout(self.policy.body(len(data), stretch), f"{operation} {key} in {self.where}", writing)
            except BaseException:
                abandoned.set()  # the caller may fill `data` anew from here on: it must not get the name any more
                raise
        else:
            await super().put(operation, key, data, kind, stretch)
        self.note([os.path.dirname(key)])

    async def next_files(self, listed: Iterator[Entries], prefix: str) -> Entries | None:
        """Read some more files of a listing of a folder; None at its end."""
        from cas.bucket.listing import MAX_SECONDS

        more = asyncio.to_thread(next, listed, None)
        return await with_timeout(MAX_SECONDS, f"list {prefix or '/'} in {self.where}", more)

    async def begin_get(
        self, key: str, stretch: float, *, head: bool = False, span: tuple[int, int] | None = None
    ) -> GetResult:
        with contextlib.suppress(OSError, ValueError):
            if not stat.S_ISREG(mode := os.stat(self._root / key).st_mode) and not stat.S_ISDIR(mode):
                raise CacheError(f"get {key} in {self.where}: it is no regular file: remove it")
        return await super().begin_get(key, stretch, head=head, span=span)

    def client(self, *, reading: bool) -> ObjectStore:
        client = super().client(reading=reading)
        if isinstance(client, MemoryStore):  # stands for a directory that does not exist yet: look again next time
            self._clients.pop(reading, None)
        return client

    def _writer(self) -> DurableDirectory:
        with self._guard:
            if self._durable is None:
                from cas.bucket.directory.durable import DurableDirectory

                self._durable = DurableDirectory(self.where)
            return self._durable

    def _take_notes(self) -> set[str]:
        with self._guard:
            taken, self._unsettled = self._unsettled, set()
            return taken


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a fifo would wait for a writer
