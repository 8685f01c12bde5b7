"""The bucket of an archive: one tar file with a store's objects, which is read where it lies and never written.

    open      look at the first block: is it a tar file at all
    index     the first request reads all headers, one small read each: key -> where its bytes lie in the file
    read      straight from the file into the caller's memory

The file stays open, so a restore goes on with the bytes that it began with when somebody replaces the file.
"""

from __future__ import annotations

import datetime
import os
import stat
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from cas.bucket.base import Bucket, Entries, Entry, Kind, ObjectRange
from cas.bucket.errors.disk import disk_error
from cas.bucket.listing import flaw_of
from cas.errors import CacheError, FormatError, ObjectMissing, ObjectTooLarge, StoreError, Unsupported
from cas.formats.archive import Member, is_archive, members
from cas.formats.digest import Buffer
from cas.formats.tar_files import BLOCK

if TYPE_CHECKING:
    from cas.bucket.body import Body

_MOST = 1 << 20  # objects in an archive: with chunks of 8 MiB, 8 TiB


class ArchiveBucket(Bucket):
    """The objects of an archive, read only."""

    def __init__(self, path: Path, fd: int) -> None:
        """Read nothing yet; fd: of the archive, which belongs to the bucket from here on."""
        self.url = str(path)
        self._fd = fd
        weakref.finalize(self, os.close, fd)
        status = os.fstat(fd)
        self._size = status.st_size
        # Headers say 1970, so that equal versions make equal archives: objects are as old as the file.
        self._modified = datetime.datetime.fromtimestamp(status.st_mtime_ns // 10**9, datetime.UTC)
        self._tag = f"{status.st_ino:x}-{status.st_mtime_ns:x}"
        self._reading = threading.Lock()
        self._members: dict[str, Member] | None = None

    def get(self, key: str, limit: int) -> Buffer:
        member = self._find(key, limit)
        into = memoryview(bytearray(member.size))
        self._read(member.offset, into, key)
        return into

    def get_into(self, key: str, into: memoryview, body: Body | None = None) -> int:
        member = self._find(key, len(into))
        self._read(member.offset, into[: member.size], key)
        return member.size

    def get_range(self, key: str, start: int, size: int) -> ObjectRange:
        member = self._find(key)
        if member.size < start + size:
            raise StoreError(
                f"get {key} in {self.url}: it has {member.size} bytes, and bytes up to {start + size} were asked for"
            )
        into = memoryview(bytearray(size))
        self._read(member.offset + start, into, key)
        return ObjectRange(into, member.size, self._entry(member).tag)

    def head(self, key: str) -> Entry:
        return self._entry(self._find(key))

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        raise self._read_only("put", key)

    def list(self, prefix: str) -> Entries:
        folder = prefix.strip("/")
        begin = f"{folder}/" if folder else ""
        return sorted(self._entry(member) for key, member in self._index().items() if key.startswith(begin))

    def delete(self, key: str) -> None:
        raise self._read_only("delete", key)

    def _read_only(self, operation: str, key: str) -> Unsupported:
        return Unsupported(
            f"{operation} {key}: {self.url} is an archive, which is read only: bring it into a store with "
            "`cas import`, or write another one with `cas export`"
        )

    def _find(self, key: str, limit: int | None = None) -> Member:
        member = self._index().get(key)
        if member is None:
            raise ObjectMissing(key, self.url)
        if limit is not None and member.size > limit:
            raise ObjectTooLarge(key, self.url, member.size, limit)
        return member

    def _entry(self, member: Member) -> Entry:
        return Entry(member.name, member.size, self._modified, f"{self._tag}-{member.offset:x}")

    def _index(self) -> dict[str, Member]:
        """The members of the archive by key; reads all headers the first time."""
        with self._reading:
            if self._members is None:
                found: dict[str, Member] = {}
                for member in members(self._read_at, self.url):
                    if flaw_of(member.name):
                        continue
                    if member.name in found:
                        raise FormatError(f"{self.url} holds {member.name} twice: refusing it")
                    if len(found) == _MOST:
                        raise FormatError(f"{self.url} holds more than {_MOST} objects: refusing it")
                    found[member.name] = member
                self._members = found
            return self._members

    def _read_at(self, offset: int, size: int) -> bytes:
        if offset >= self._size:  # also an offset that no system call takes
            return b""
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise disk_error(error.errno or 0, f"read {self.url}", error.strerror or str(error)) from error

    def _read(self, offset: int, into: memoryview, key: str) -> None:
        done = 0
        try:
            while done < len(into) and (got := os.preadv(self._fd, [into[done:]], offset + done)):
                done += got
        except OSError as error:
            raise disk_error(error.errno or 0, f"get {key} in {self.url}", error.strerror or str(error)) from error
        if done < len(into):
            raise StoreError(f"get {key} in {self.url}: the archive became shorter while it was read: copy it again")


def open_archive(path: Path) -> ArchiveBucket:
    """Return the bucket of the archive at `path`; reads its first block alone.

    Raises:
        CacheError: it is another file, or cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: a fifo in its place waits for none
    except OSError as error:
        raise CacheError(f"store {path} cannot be used: {error.strerror}") from error
    bucket = ArchiveBucket(path, fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode) or not is_archive(os.pread(fd, BLOCK, 0)):
        raise CacheError(f"store {path} is a file: name a directory")  # a file that is no archive
    return bucket
