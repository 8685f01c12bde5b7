"""An archive that is read once, from a file or a pipe, from its beginning to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from cas.errors import CacheError, InputError, IntegrityError, StoreError
from cas.formats.archive import Member

_PADDING = 16 << 20  # bytes behind the end mark that are read


class Readable(Protocol):
    """What an archive is read from."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer, or its beginning; return how many bytes, 0 at the end."""


class ArchiveStream:
    """An archive that is read once from its beginning to its end."""

    def __init__(self, source: Readable, name: str) -> None:
        self._source, self._name = source, name
        self._at = 0
        self._skipped = memoryview(bytearray(1 << 20))

    def read_at(self, offset: int, size: int) -> bytes:
        """The bytes at an offset, which none before it was; fewer at the end."""
        while self._at < offset:
            if not self._fill(self._skipped[: min(offset - self._at, len(self._skipped))]):
                return b""
        into = bytearray(size)
        return bytes(into[: self._fill(memoryview(into))])

    def read_data(self, member: Member, into: memoryview) -> None:
        """Read the data of a member whose header was the last that was read."""
        if (got := self._fill(into)) < member.size:
            raise IntegrityError(
                f"{self._name} is cut short: it ends at byte {self._at}, {member.size - got} bytes early: copy it again"
            )

    def drain(self) -> None:
        """Read what another tar wrote behind the end mark: one that writes to a pipe would fail otherwise."""
        for _ in range(_PADDING // len(self._skipped)):
            if not self._fill(self._skipped):
                return

    def _fill(self, into: memoryview) -> int:
        done = 0
        try:
            while done < len(into) and (got := self._source.readinto(into[done:])):
                done += got
        except OSError as error:
            raise StoreError(f"{self._name} cannot be read ({error.strerror})") from error
        self._at += done
        return done


@contextlib.contextmanager
def opened_archive(file: str | Path) -> Iterator[Readable]:
    """Open an archive's file, which may be a named pipe, to be read once.

    Raises:
        InputError: there is no such file, or it is a directory.
        CacheError: it cannot be read.
    """
    try:
        opened = open(file, "rb", buffering=0)  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist: name a file that `cas export` wrote, or -") from None
    except IsADirectoryError:
        raise InputError(f"{file} is a directory: a store is copied with `cas copy --store {Path(file)}`") from None
    except OSError as error:
        raise CacheError(f"{file} cannot be read: {error.strerror}") from error
    with opened:
        yield cast("Readable", opened)
