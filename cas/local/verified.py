"""The record beside a model on this machine: which files were verified, so that a warm restore reads none again.

One document per repo folder, `.cas/verified.json`: a file whose content name, size and modification time are
as they were when it was hashed is taken as verified. An edit that keeps size and time passes; `--verify` finds it.

Beside it `.cas/chunks.json` says which chunks each content consists of, so that an update knows without reading
what an older version holds. It is a hint: whatever is copied is hashed on the way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from cas.formats.manifest import MAX_MANIFEST, ChunkRef
from cas.local.directory import Directory
from cas.local.fs import is_file
from cas.local.hf_cache import PRIVATE

Chunks = tuple[ChunkRef, ...]

_NAME = "verified.json"
_CHUNKS_NAME = "chunks.json"
_LARGEST = 64 * 1024 * 1024

T = TypeVar("T")


class FileStamp(msgspec.Struct, frozen=True, array_like=True):
    """A verified file as it was. content: 64 hex. size: bytes. mtime: nanoseconds."""

    content: str
    size: int
    mtime: int


class _Document(msgspec.Struct, frozen=True):
    version: int
    files: dict[str, FileStamp]


class _Lists(msgspec.Struct, frozen=True):
    version: int
    contents: dict[str, Chunks]


class VerifiedFiles:
    """The record of one root folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        document = _read(root / PRIVATE / _NAME, _Document, _LARGEST)
        self._seen = document.files if document and document.version == 1 else {}

    def valid_stamp(self, parts: tuple[str, ...], content: str) -> FileStamp | None:
        """What the record says of the file `parts`, if it was verified to be `content` and is as it was."""
        seen = self._seen.get("/".join(parts))
        return seen if seen and seen == stamp_of(self._root.joinpath(*parts), content) else None

    def is_unchanged(self, path: Path) -> bool | None:
        """Whether the file at `path` is as it was when it was verified; None when the record does not name it."""
        real, root = Path(os.path.realpath(path)), os.path.realpath(self._root)
        seen = self._seen.get(real.relative_to(root).as_posix()) if real.is_relative_to(root) else None
        return None if seen is None else stamp_of(real, seen.content) == seen

    def is_recorded(self, parts: tuple[str, ...], seen: FileStamp) -> bool:
        """Whether the record already says this."""
        return self._seen.get("/".join(parts)) == seen

    def unchanged_files(self) -> Iterator[tuple[Path, Chunks]]:
        """Verified files that are as they were, with the chunks they consist of."""
        lists = self._lists()
        for path, seen in self._seen.items():
            chunks = lists.get(seen.content, ())
            whole = sum(chunk.size for chunk in chunks) == seen.size
            if chunks and whole and stamp_of(self._root / path, seen.content) == seen:
                yield self._root / path, chunks

    def update(self, files: Mapping[tuple[str, ...], FileStamp], chunks: Mapping[str, Chunks]) -> None:
        """Writes the next record: this one and `files`, without files that are gone.

        chunks: of each content in `files`. Raises CacheError when the folder cannot be written.
        """
        kept = {path: seen for path, seen in self._seen.items() if stamp_of(self._root / path, seen.content) == seen}
        kept.update({"/".join(parts): seen for parts, seen in files.items()})
        contents = {seen.content for seen in kept.values()}
        lists = {content: held for content, held in (self._lists() | dict(chunks)).items() if content in contents}
        with Directory.open(self._root, (PRIVATE,)) as folder:
            for name, document in (
                (_CHUNKS_NAME, _Lists(1, dict(sorted(lists.items())))),
                (_NAME, _Document(1, dict(sorted(kept.items())))),
            ):
                folder.write(name, msgspec.json.encode(document), folder)

    def _lists(self) -> dict[str, Chunks]:
        document = _read(self._root / PRIVATE / _CHUNKS_NAME, _Lists, MAX_MANIFEST)
        return document.contents if document and document.version == 1 else {}


def stamp_of(path: Path, content: str) -> FileStamp | None:
    """What the record would say about a file now; None when it is absent or no ordinary file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name with a NUL, in a record of somebody else's
        return None
    if not is_file(found):
        return None
    return FileStamp(content, found.st_size, found.st_mtime_ns)


def _read(path: Path, kind: type[T], limit: int) -> T | None:
    """Without a record everything is hashed again: slower, never wrong."""
    try:
        if not is_file(os.stat(path)):
            return None
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(limit), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
