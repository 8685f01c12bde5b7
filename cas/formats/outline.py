"""Parts of a manifest, for readers that need no more of it: what lists show of a version, and the names of its chunks.

To decode a whole manifest of 20,000 chunks takes 80 ms, most of it for the pattern of each digest; an outline takes
2 ms, and the names of the chunks 15. The bytes are verified by their digest before, so they are what a publisher wrote.
What only a restore relies on (paths, sums of sizes) is not checked here: `cas.formats.manifest.parse` does that.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Raw, Struct

from cas.errors import FormatError
from cas.formats.manifest import (
    MAX_CHUNKS,
    MAX_MANIFEST,
    VERSION,
    DigestName,
    Name,
    RepoId,
    Size,
    Text,
    Time,
    check_version,
    decode,
)
from cas.formats.typed_json import JsonFormat

_File = TypeVar("_File")

_NONE = Raw(b"null")


class Outline(Struct, frozen=True):
    """What lists show of a version.

    Attributes:
        model: the version's model.
        created: when the version was made, as a manifest of version 1 says; None for version 2, which does not.
        size: plain bytes of all files.
        files: how many files the version has.
        parent: the version that the tag named before, as a manifest of version 1 says; None for none.
        transform: how a variant was made of its original; None for a version that is no variant.
        original: the version that a variant was derived from.
    """

    model: Name
    created: Time | None
    size: Size
    files: Size
    parent: DigestName | None = None
    transform: Text | None = None
    original: DigestName | None = None


class ChunkNames(Struct, frozen=True):
    """The chunks that a version needs.

    Attributes:
        model: the version's model.
        digests: of the chunks, 32 bytes each, one after the other; a chunk that is used twice may stand there twice.
    """

    model: str
    digests: bytes


class RepoIds(Struct, frozen=True):
    """The repos of a version.

    Attributes:
        model: the version's model.
        repo_ids: of the repos, such as `org/name`.
    """

    model: str
    repo_ids: tuple[str, ...]


# The types below have every field of a manifest, and refuse others as `Manifest` does: a field that this program does
# not know may name chunks. What is not looked at is `Raw`: its bytes are passed over.


class _SizedFile(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    path: Raw
    size: Size
    chunks: Raw
    blob: Raw = _NONE


class _Chunk(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    digest: Annotated[str, Meta(min_length=64, max_length=64)]
    size: Size


class _ChunkedFile(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    path: Raw
    size: Raw
    chunks: tuple[_Chunk, ...]
    blob: Raw = _NONE


class _Repo(Struct, Generic[_File], frozen=True, forbid_unknown_fields=True):
    repo_id: RepoId
    repo_type: Raw
    commit: Raw
    refs: Raw
    files: tuple[_File, ...]


class _Derived(Struct, frozen=True, forbid_unknown_fields=True, rename={"parent": "from"}):
    parent: DigestName
    transform: Text
    equivalent: Raw = _NONE


class _Manifest(Struct, Generic[_File], frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: int
    model: Name
    created: Time | None = None
    created_by: Raw = _NONE
    parent: DigestName | None = None
    repos: tuple[_Repo[_File], ...]
    files: tuple[_File, ...] = ()
    derived: _Derived | None = None
    annotations: Raw = _NONE

    def all_files(self) -> list[_File]:
        """The files of all repos, and the plain files."""
        return [*self.files, *(file for repo in self.repos for file in repo.files)]


_SIZES = JsonFormat[_Manifest[_SizedFile]](_Manifest[_SizedFile])
_CHUNKS = JsonFormat[_Manifest[_ChunkedFile]](_Manifest[_ChunkedFile])


def outline(data: bytes) -> Outline:
    """Return the outline of the manifest that `data` encodes.

    Raises:
        FormatError: it is too large, of an unknown version, or lacks one of the fields.
    """
    found = _decode(_SIZES, data)
    files, derived = found.all_files(), found.derived
    return Outline(
        found.model,
        found.created,
        sum(file.size for file in files),
        len(files),
        found.parent,
        derived.transform if derived else None,
        derived.parent if derived else None,
    )


def repo_ids(data: bytes) -> RepoIds:
    """Return which repos the version has whose manifest `data` encodes; raise FormatError as `outline`."""
    found = _decode(_SIZES, data)
    return RepoIds(found.model, tuple(repo.repo_id for repo in found.repos))


def chunk_names(data: bytes) -> ChunkNames:
    """Return the digests of all chunks that the manifest encoded by `data` names.

    Raises:
        FormatError: it is too large, of an unknown version, or names a chunk by something else than 64 hex digits.
    """
    found = _decode(_CHUNKS, data)
    joined = "".join([chunk.digest for file in found.all_files() for chunk in file.chunks])
    if len(joined) > 64 * MAX_CHUNKS:
        raise FormatError(f"manifest names {len(joined) // 64} chunks; at most {MAX_CHUNKS} are read")
    try:
        digests = bytes.fromhex(joined)
    except ValueError:
        digests = b""
    if digests.hex() != joined:  # `fromhex` takes capitals and white space, too
        raise FormatError("manifest is malformed: a chunk is not named by 64 lower-case hex digits")
    return ChunkNames(found.model, digests)


def _decode(layout: JsonFormat[_Manifest[_File]], data: bytes) -> _Manifest[_File]:
    try:
        found = decode(layout, data)
    except FormatError:
        check_version(data)  # a manifest of a newer version may have other fields
        raise
    if not 1 <= found.version <= VERSION or len(data) > MAX_MANIFEST:
        check_version(data)
    if (found.created is None) == (found.version == 1):
        raise FormatError("manifest is malformed: version 1 says when it was made, and later versions do not")
    return found
