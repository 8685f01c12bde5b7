"""The record beside a model on this machine: which files were verified, so that a warm restore reads none again.

`.cas/verified.json`, one for each root directory, holds a stamp of every verified file. A file whose content name, size
and modification time equal its stamp counts as verified. An edit that keeps size and time passes; `--verify` finds it.

`.cas/chunks.json` beside it lists the chunks that each content consists of, so that an update knows without reading
which chunks an older version holds. The list is a hint: every chunk is hashed when it is copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from cas.formats.manifest import MAX_MANIFEST, ChunkRef
from cas.formats.typed_json import JsonFormat
from cas.local.directory import Directory
from cas.local.fs import is_file, read_bounded
from cas.local.hf_cache import PRIVATE

Chunks = tuple[ChunkRef, ...]

STAMPS_NAME = "verified.json"
CHUNKS_NAME = "chunks.json"
_MAX_STAMPS = 64 * 1024 * 1024  # bytes

T = TypeVar("T")


class FileStamp(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when it was verified.

    Attributes:
        content: 64 hex that name its bytes; see `cas.local.targets.content_of`.
        size: bytes.
        mtime: time of its last modification, in nanoseconds.
    """

    content: str
    size: int
    mtime: int


Stamps = dict[tuple[str, ...], FileStamp]
"""Stamps of files by their paths, as components below a root."""


# Size and time of a file that a restore is about to write: no file has them, so its bytes are never taken on trust.
_CLAIM = -1


class _Stamps(msgspec.Struct, frozen=True):
    version: int
    files: dict[str, FileStamp]


class _ChunkLists(msgspec.Struct, frozen=True):
    version: int
    contents: dict[str, Chunks]


_STAMPS = JsonFormat[_Stamps](_Stamps)
_CHUNK_LISTS = JsonFormat[_ChunkLists](_ChunkLists)


class VerifiedFiles:
    """The record of one root directory: a repo's, or HF_HOME. Paths are components below the root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        document = _read(root / PRIVATE / STAMPS_NAME, _STAMPS, _MAX_STAMPS)
        self._stamps = document.files if document and document.version == 1 else {}

    def valid_stamp(self, components: tuple[str, ...], content: str) -> FileStamp | None:
        """Return a file's stamp if the file was verified to be `content` (64 hex) and has not changed since."""
        stamp = self._stamps.get("/".join(components))
        return stamp if stamp and stamp == stamp_of(self._root.joinpath(*components), content) else None

    def is_unchanged(self, path: Path) -> bool | None:
        """Return whether a file is as it was when it was verified; None when it was not verified.

        Args:
            path: the file, absolute; symlinks are followed.
        """
        real, root = Path(os.path.realpath(path)), os.path.realpath(self._root)
        stamp = self._stamps.get(real.relative_to(root).as_posix()) if real.is_relative_to(root) else None
        return None if stamp is None else self._is_current(real, stamp)

    def is_recorded(self, components: tuple[str, ...], stamp: FileStamp) -> bool:
        """Return whether the record holds this stamp for this file."""
        return self._stamps.get("/".join(components)) == stamp

    def names(self, components: tuple[str, ...], *, claimed: bool = True) -> bool:
        """Return whether the record names a file, whatever has become of it: a restore wrote it, or was about to.

        Args:
            components: the file's path.
            claimed: whether it counts if a restore was only about to write the file.
        """
        stamp = self._stamps.get("/".join(components))
        return stamp is not None and (claimed or stamp.size != _CLAIM)

    def claim(
        self, contents: Mapping[tuple[str, ...], str], chunks: Mapping[str, Chunks] = MappingProxyType({})
    ) -> None:
        """Record that a restore is about to write files, so that later restores may replace them.

        Args:
            contents: what each file will hold (64 hex), by its path.
            chunks: the chunks of these contents, by name: for `claimed_chunks`.

        Raises:
            CacheError: the directory cannot be written.
        """
        self.update({path: FileStamp(content, _CLAIM, _CLAIM) for path, content in contents.items()}, chunks)

    def claimed_chunks(self, components: tuple[str, ...]) -> Chunks | None:
        """Return the chunks of a file that a restore was about to write and has not recorded since.

        None for any other file, and when nothing tells the chunks.
        """
        stamp = self._stamps.get("/".join(components))
        return self._chunk_lists().get(stamp.content) if stamp and stamp.size == _CLAIM else None

    def unchanged_files(self) -> Iterator[tuple[Path, Chunks]]:
        """Yield the path and the chunks of each verified file that has not changed since."""
        lists = self._chunk_lists()
        for path, stamp in self._stamps.items():
            chunks = lists.get(stamp.content, ())
            is_complete = sum(chunk.size for chunk in chunks) == stamp.size
            if chunks and is_complete and self._is_current(self._root / path, stamp):
                yield self._root / path, chunks

    def update(self, files: Mapping[tuple[str, ...], FileStamp], chunks: Mapping[str, Chunks]) -> None:
        """Write the record anew with `files` added, and without files that changed or are gone.

        A claimed file stays in the record for as long as something has its name.

        Args:
            files: stamps of newly verified files.
            chunks: the chunks of each content in `files`, by its name (64 hex).

        Raises:
            CacheError: the directory cannot be written.
        """
        stamps = {path: stamp for path, stamp in self._stamps.items() if self._is_worth_keeping(path, stamp)}
        stamps.update({"/".join(components): stamp for components, stamp in files.items()})
        contents = {stamp.content for stamp in stamps.values()}
        known = self._chunk_lists() | dict(chunks)
        lists = {content: known[content] for content in sorted(known.keys() & contents)}
        with Directory.open(self._root, (PRIVATE,)) as directory:
            for name, data in (
                (CHUNKS_NAME, _CHUNK_LISTS.encode(_ChunkLists(1, lists))),
                (STAMPS_NAME, _STAMPS.encode(_Stamps(1, dict(sorted(stamps.items()))))),
            ):
                directory.write(name, data, directory)

    def _chunk_lists(self) -> dict[str, Chunks]:
        document = _read(self._root / PRIVATE / CHUNKS_NAME, _CHUNK_LISTS, MAX_MANIFEST)
        return document.contents if document and document.version == 1 else {}

    def _is_worth_keeping(self, path: str, stamp: FileStamp) -> bool:
        return (
            os.path.lexists(self._root / path) if stamp.size == _CLAIM else self._is_current(self._root / path, stamp)
        )

    @staticmethod
    def _is_current(path: Path, stamp: FileStamp) -> bool:
        return stamp_of(path, stamp.content) == stamp


def stamp_of(path: Path, content: str) -> FileStamp | None:
    """Return the stamp that a file would get now if it were `content`; None when it is absent or no regular file."""
    try:
        stats = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name with a NUL, in a record that we did not write
        return None
    if not is_file(stats):
        return None
    return FileStamp(content, stats.st_size, stats.st_mtime_ns)


def _read(path: Path, format: JsonFormat[T], limit: int) -> T | None:
    """Return a document of the record, None when it cannot be read: files are then hashed again, slower and as safe."""
    try:
        return format.decode(read_bounded(path, limit))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
