"""The manifest: every file of one model version and its chunks, as immutable JSON named by its digest.

This is version 1. Its JSON Schema is generated from these types into manifests/schema/manifest-1.json; the docstrings
and descriptions of the types are part of it. Reading is strict: the size is limited before parsing, unknown fields and
versions are refused, and a manifest that passes `parse` names only safe paths and sizes that add up.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from cas.errors import FormatError, InputError
from cas.formats import paths
from cas.formats.digest import Hex, hex_of
from cas.formats.frame import MAX_CHUNK
from cas.formats.typed_json import JsonFormat, T

VERSION = 1

MAX_MANIFEST = 16 * 1024 * 1024
"""Encoded bytes of the largest manifest that is read: enough for the chunks of 8 MiB of a model of 1.6 TB."""

MAX_CHUNKS = 200_000
"""Chunks of the largest manifest that is read; a chunk counts each time that it is named."""

# In Python alone, $ also matches before a last newline: hence (?!\n).
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?!\n)$"
REPO_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?(?!\n)$"

Name: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
RepoId: TypeAlias = Annotated[str, Meta(pattern=REPO_PATTERN)]
Commit: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}(?!\n)$")]
Blob: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})(?!\n)$", description="sha256 or git sha1")]
Time: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z(?!\n)$")]
DigestName: TypeAlias = Annotated[str, Meta(pattern=r"^blake3:[0-9a-f]{64}(?!\n)$")]
Size: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]
ChunkSize: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_CHUNK)]
Text: TypeAlias = Annotated[
    str, Meta(max_length=4096, pattern=r"^[^\x00-\x1f\x7f-\x9f]*(?!\n)$", description="one line, no control characters")
]


class ChunkRef(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One chunk by the digest and size of its plain bytes."""

    digest: Hex
    size: ChunkSize


class PlainFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A file outside any repo, its path relative to HF_HOME."""

    path: str
    size: Size
    chunks: tuple[ChunkRef, ...]


class RepoFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a repo, its path relative to the snapshot; `blob` is the hub's name for its content."""

    path: str
    size: Size
    blob: Blob
    chunks: tuple[ChunkRef, ...]


class Repo(Struct, frozen=True, forbid_unknown_fields=True):
    """The files of one repo at one commit, and the hub refs (branches, tags) that name the commit."""

    repo_id: RepoId
    repo_type: Annotated[str, Meta(pattern=r"^(model|dataset|space)(?!\n)$")]
    commit: Commit
    refs: Annotated[tuple[str, ...], Meta(max_length=64)]
    files: tuple[RepoFile, ...]


class Derived(Struct, frozen=True, forbid_unknown_fields=True, rename={"parent": "from"}):
    """How a variant came from another manifest."""

    parent: DigestName
    transform: Text
    equivalent: Text


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One immutable version of a model."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)] = VERSION
    model: Name
    created: Time
    created_by: Text
    parent: DigestName | None = None
    repos: tuple[Repo, ...]
    files: tuple[PlainFile, ...] = ()
    derived: Derived | None = None
    annotations: Annotated[dict[Text, Text], Meta(max_length=256)] = {}

    def all_files(self) -> Iterator[RepoFile | PlainFile]:
        """Yield every file in the manifest's order, those of repos first."""
        for repo in self.repos:
            yield from repo.files
        yield from self.files

    def chunks(self) -> dict[str, int]:
        """Plain size in bytes of every distinct chunk by its digest, in order of first use."""
        return {chunk.digest: chunk.size for file in self.all_files() for chunk in file.chunks}

    @property
    def plain_size(self) -> int:
        """Plain bytes of all files together."""
        return sum(file.size for file in self.all_files())

    def content(self) -> tuple[object, ...]:
        """What the version consists of, without when, by whom and from which parent it was made."""
        return (self.model, self.repos, self.files, self.derived, self.annotations)


class _Versioned(Struct):
    version: Size


_MANIFESTS = JsonFormat[Manifest](Manifest, order="deterministic")
_VERSIONED = JsonFormat[_Versioned](_Versioned)


def check_name(name: str, what: str) -> str:
    """Return `name` if it is a valid name.

    Args:
        name: what the user calls a model, tag or deployment.
        what: which of the three it is, as the error message says it.

    Raises:
        InputError: the name is not valid.
    """
    if not re.fullmatch(NAME_PATTERN.strip("^$"), name):
        raise InputError(
            f"{what} {name!a} is not a name: use letters, digits, '.', '_' and '-', at most 96, "
            "beginning with a letter or digit"
        )
    if what == "model" and name == "pin":
        raise InputError("a model cannot be named 'pin', as references to pins begin so: choose another name")
    return name


def timestamp(at: datetime.datetime) -> str:
    """A moment as documents and messages write it: UTC, to the second (RFC 3339)."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """The present moment as documents write it: UTC, to the second (RFC 3339)."""
    return timestamp(datetime.datetime.now(datetime.UTC))


def encode(manifest: Manifest) -> bytes:
    """The one encoding of a manifest: fields in declared order, annotations sorted, no white space.

    Raises:
        FormatError: the manifest breaks a rule that readers enforce. So nothing is written that cannot be read again.
    """
    data = _MANIFESTS.encode(manifest)
    parse(data)
    return data


def parse(data: bytes) -> Manifest:
    """The manifest that `data` encodes.

    Raises:
        FormatError: it is too large, of an unknown version or malformed, or it names an unsafe path.
    """
    check_version(data)
    manifest = decode(_MANIFESTS, data)
    _check(manifest)
    return manifest


def check_version(data: bytes) -> None:
    """Raise FormatError if the manifest that `data` encodes is too large, or of a version that this program lacks."""
    if len(data) > MAX_MANIFEST:
        raise FormatError(f"manifest of {len(data)} bytes is over the limit of {MAX_MANIFEST}")
    version = decode(_VERSIONED, data).version
    if version != VERSION:
        raise FormatError(f"manifest is of version {version}; this program knows version {VERSION}: upgrade model-cas")


def decode(layout: JsonFormat[T], data: bytes) -> T:
    """Return what a type of document takes from the manifest that `data` encodes; raise FormatError if it is none."""
    try:
        return layout.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"manifest is malformed: {error}") from None


def digest_of(manifest: Manifest) -> str:
    """The digest (64 hex) that names a manifest: the digest of its encoding."""
    return hex_of(encode(manifest))


def schema() -> dict[str, object]:
    """The JSON Schema of a manifest, generated from the types above."""
    generated = msgspec.json.schema(Manifest)
    whole = generated["$defs"]["Manifest"]
    # Defaults serve code that makes a manifest. A written manifest has every field, so the schema requires every field.
    whole["required"] = list(whole["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "model-cas manifest, version 1",
        **generated,
    }


def _check(manifest: Manifest) -> None:
    for repo in manifest.repos:
        if ".." in repo.repo_id or "--" in repo.repo_id:
            raise FormatError(f"repo id {repo.repo_id!a} contains '..' or '--': refusing the manifest")
        paths.check_tree(file.path for file in repo.files)
    roots = [f"{repo.repo_type}/{repo.repo_id}" for repo in manifest.repos]
    paths.check_tree(f"{root}/{repo.commit}" for root, repo in zip(roots, manifest.repos, strict=True))
    # A manifest may name a repo at two commits, but each ref of the repo names one commit.
    paths.check_tree(f"{root}/{ref}" for root, repo in zip(roots, manifest.repos, strict=True) for ref in repo.refs)
    paths.check_tree(file.path for file in manifest.files)
    for file in manifest.files:
        paths.check_plain_path(file.path)
    _check_sizes(manifest.all_files())


def _check_sizes(files: Iterable[RepoFile | PlainFile]) -> None:
    sizes: dict[str, int] = {}
    count = 0
    blobs: dict[str, tuple[ChunkRef, ...]] = {}
    for file in files:
        count += len(file.chunks)
        if sum(chunk.size for chunk in file.chunks) != file.size:
            raise FormatError(f"chunks of {file.path!a} do not add up to its {file.size} bytes")
        for chunk in file.chunks:
            if sizes.setdefault(chunk.digest, chunk.size) != chunk.size:
                raise FormatError(f"chunk {chunk.digest} has two sizes in one manifest")
        if isinstance(file, RepoFile) and blobs.setdefault(file.blob, file.chunks) != file.chunks:
            raise FormatError(f"blob {file.blob} has two contents in one manifest")
    if count > MAX_CHUNKS:
        raise FormatError(f"manifest names {count} chunks; at most {MAX_CHUNKS} are read")
