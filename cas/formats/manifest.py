"""The manifest: every file of one model version and its chunks, as immutable JSON named by its digest.

This is version 2, which says nothing of when, by whom or after what it was made, and has one encoding: one content has
one name. Version 1 is read for ever, and written no more. The JSON Schema in manifests/schema/manifest-2.json is
generated from these types; the docstrings and descriptions of the types are part of it (manifest-1.json does not
change any more). Reading is strict: the size is limited before parsing, unknown fields and versions are refused, and a
manifest that passes `parse` names only safe paths and sizes that add up.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from cas.errors import FormatError, InputError
from cas.formats import paths
from cas.formats.digest import Hex, hex_of
from cas.formats.frame import MAX_CHUNK
from cas.formats.typed_json import JsonFormat, T

VERSION = 2
"""What is written. Its number stands for the rules by which files are cut, too (`cas/formats/chunking.py`)."""

MAX_MANIFEST = 16 * 1024 * 1024
"""Encoded bytes of the largest manifest that is read: enough for the chunks of 8 MiB of a model of 1.6 TB."""

MAX_CHUNKS = 200_000
"""Chunks of the largest manifest that is read; a chunk counts each time that it is named."""

# In Python alone, $ also matches before a last newline: hence (?!\n).
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?!\n)$"
REPO_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?(?!\n)$"

Name: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
RepoId: TypeAlias = Annotated[str, Meta(pattern=REPO_PATTERN)]
RepoType: TypeAlias = Annotated[str, Meta(pattern=r"^(model|dataset|space)(?!\n)$")]
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
    repo_type: RepoType
    commit: Commit
    refs: Annotated[tuple[str, ...], Meta(max_length=64)]
    files: tuple[RepoFile, ...]


class Derived(Struct, frozen=True, forbid_unknown_fields=True, rename={"parent": "from"}):
    """How a variant came from another manifest."""

    parent: DigestName
    transform: Text


class Derived1(Derived, frozen=True, forbid_unknown_fields=True, rename={"parent": "from"}):
    """The same in version 1, with a sentence about where the variant is equivalent, as its program worded it."""

    equivalent: Text


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One immutable version of a model; repos, files, refs and annotations stand in the order of their names."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)] = VERSION
    model: Name
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


class Manifest1(Manifest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A manifest of version 1: it says when, by which program and after which version it was made, in any order."""

    version: Annotated[int, Meta(ge=1, le=1)] = 1
    created: Time
    created_by: Text
    parent: DigestName | None = None
    derived: Derived1 | None = None


class _Versioned(Struct):
    version: Size


_MANIFESTS = JsonFormat[Manifest](Manifest, order="deterministic")
_MANIFESTS_1 = JsonFormat[Manifest1](Manifest1)
_FIELDS_1 = JsonFormat[dict[str, object]](dict[str, object])
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
    if what == "model" and name in ("pin", "blake3"):
        raise InputError(f"a model cannot be named {name!r}, as pins and digests are written so: choose another name")
    return name


def timestamp(at: datetime.datetime) -> str:
    """A moment as documents and messages write it: UTC, to the second (RFC 3339)."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """The present moment as documents write it: UTC, to the second (RFC 3339)."""
    return timestamp(datetime.datetime.now(datetime.UTC))


def encode(manifest: Manifest) -> bytes:
    """The one encoding of a manifest, whatever order its maker used: fields in declared order, no white space.

    Raises:
        FormatError: the manifest breaks a rule that readers enforce. So nothing is written that cannot be read again.
    """
    data = _encoding(manifest)
    parse(data)
    return data


def _encoding(manifest: Manifest) -> bytes:
    if isinstance(manifest, Manifest1):
        # The order of fields in version 1; those of its own stand in the middle.
        names = ("version", "model", "created", "created_by", "parent", "repos", "files", "derived", "annotations")
        fields = {name: getattr(manifest, name) for name in names}
        return _FIELDS_1.encode({**fields, "annotations": dict(sorted(manifest.annotations.items()))})
    return _MANIFESTS.encode(ordered(manifest))


def ordered(manifest: Manifest) -> Manifest:
    """Return the manifest with its repos, files and refs in the order of version 2, which is that of their names."""
    by_path = attrgetter("path")
    repos = [
        msgspec.structs.replace(repo, refs=tuple(sorted(set(repo.refs))), files=tuple(sorted(repo.files, key=by_path)))
        for repo in manifest.repos
    ]
    return msgspec.structs.replace(
        manifest,
        repos=tuple(sorted(repos, key=attrgetter("repo_type", "repo_id", "commit"))),
        files=tuple(sorted(manifest.files, key=by_path)),
    )


def parse(data: bytes) -> Manifest:
    """The manifest that `data` encodes: of version 2, or the `Manifest1` of version 1.

    Raises:
        FormatError: it is too large, of an unknown version or malformed, it names an unsafe path, or it is of version 2
            and not the one encoding of what it says.
    """
    if check_version(data) == 1:
        old = decode(_MANIFESTS_1, data)
        _check(old)
        return old
    manifest = decode(_MANIFESTS, data)
    _check(manifest)
    if _encoding(manifest) != data:
        raise FormatError("manifest is not in the one order and form that its version has: refusing it")
    return manifest


def check_version(data: bytes) -> int:
    """Return the version of the manifest that `data` encodes.

    Raises:
        FormatError: it is too large, malformed, or of a version that this program does not know.
    """
    if len(data) > MAX_MANIFEST:
        raise FormatError(f"manifest of {len(data)} bytes is over the limit of {MAX_MANIFEST}")
    version = decode(_VERSIONED, data).version
    if not 1 <= version <= VERSION:
        raise FormatError(
            f"manifest is of version {version}; this program knows versions 1 and {VERSION}: upgrade model-cas"
        )
    return version


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
    """The JSON Schema of a manifest of version 2, generated from the types above."""
    generated = msgspec.json.schema(Manifest)
    whole = generated["$defs"]["Manifest"]
    # Defaults serve code that makes a manifest. A written manifest has every field, so the schema requires every field.
    whole["required"] = list(whole["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"model-cas manifest, version {VERSION}",
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
