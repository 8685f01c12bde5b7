"""What makes a manifest a variant: its transform, its words, its commits, and the files that changed."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec

from cas.errors import FormatError, InputError
from cas.formats.digest import hex_of, named
from cas.formats.manifest import ChunkRef, Derived, Manifest, PlainFile, Repo, RepoFile
from cas.ops.derive.cast import TARGETS
from cas.ops.derive.nearest import Verdict
from cas.refs.reference import Resolved

Chunks: TypeAlias = tuple[ChunkRef, ...]

SUFFIX = ".safetensors"

CAST = "cast:"

TENSORS = "cast.tensors"
PROOF = "cast.proof"
OVERFLOWED = "cast.overflowed"

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Files that hold weights, by their names' ends, and are not looked into: they can only be read by running them."""


class Made(NamedTuple):
    """The new content of a file. blob: its sha256."""

    size: int
    blob: str
    chunks: tuple[ChunkRef, ...]


def transform_of(cast: str) -> str:
    """The recorded name of a cast to `cast`; raises InputError for a type that is not offered."""
    if cast not in TARGETS:
        raise InputError(f"{cast!a} is not a type to cast to: choose {' or '.join(TARGETS)}")
    return CAST + cast


def target_of(derived: Derived | None, reference: str) -> str:
    """What a variant was cast to, as safetensors names it.

    Raises InputError for a version that is no cast variant, FormatError for a type this version does not know.
    """
    if derived is None or not derived.transform.startswith(CAST):
        raise InputError(f"{reference} is not a cast variant: see `cas show {reference}`")
    cast = derived.transform.removeprefix(CAST)
    if cast not in TARGETS:
        raise FormatError(
            f"{reference} was cast to {cast!a}; this program knows {', '.join(TARGETS)}: upgrade model-cas"
        )
    return TARGETS[cast]


def check_original(resolved: Resolved) -> None:
    """Raises InputError when the version is itself a cast variant: rounding twice is not rounding once."""
    derived = resolved.manifest.derived
    if derived is not None and derived.transform.startswith(CAST):
        original = f"{resolved.manifest.model}@{derived.parent}"
        raise InputError(
            f"{resolved.reference} is itself a variant ({derived.transform}): derive from its original, {original}"
        )


def derived_from(digest: str, transform: str, verdict: Verdict) -> Derived:
    """The record of a cast of the version `digest` (64 hex)."""
    cast = transform.removeprefix(CAST)
    example = ", as F5-TTS does on CUDA" if cast == "float16" else ""
    nans = "; NaNs stay NaNs, whose bits differ from machine to machine" if verdict.nans else ""
    where = f"bit-equal weights wherever the loader casts to {cast} before use{example}{nans}"
    return Derived(named(digest), transform, where)


def noted(tensors: int, listing: str, verdict: Verdict) -> dict[str, str]:
    """The record of a proof. tensors: how many were cast. listing: its digest."""
    found = {TENSORS: str(tensors), PROOF: listing}
    if verdict.overflowed:
        found[OVERFLOWED] = str(verdict.overflowed)
    return found


@dataclass(frozen=True, slots=True)
class Record:
    """What a manifest says of its being a variant. original: the version it comes from, named for ever."""

    original: str
    transform: str
    equivalent: str
    tensors: int
    overflowed: int
    proof: str


def record(manifest: Manifest) -> Record | None:
    """How a version came from another; None for one that did not."""
    if manifest.derived is None:
        return None
    derived, known = manifest.derived, manifest.annotations
    return Record(
        f"{manifest.model}@{derived.parent}",
        derived.transform,
        derived.equivalent,
        _count(known.get(TENSORS)),
        _count(known.get(OVERFLOWED)),
        known.get(PROOF, ""),
    )


def repos(original: Manifest, transform: str, made: Mapping[Chunks, Made]) -> tuple[Repo, ...]:
    """The original's repos with the safetensors files in `made`, by their old chunks, exchanged.

    A repo that changed gets a commit of its own, which follows from its content and the transform: upstream's commit
    names upstream's bytes.
    """
    return tuple(_repo(repo, transform, made) for repo in original.repos)


def plain_files(original: Manifest, made: Mapping[Chunks, Made]) -> tuple[PlainFile, ...]:
    """The original's files outside any repo, exchanged likewise."""
    return tuple(
        PlainFile(file.path, made[file.chunks].size, made[file.chunks].chunks) if changes(file, made) else file
        for file in original.files
    )


def changes(file: RepoFile | PlainFile, made: Container[Chunks]) -> bool:
    """Whether a file of the original is exchanged: another file may have the same bytes under another kind of name."""
    return file.path.endswith(SUFFIX) and file.chunks in made


def pickles(original: Manifest) -> tuple[str, ...]:
    """Paths of files that may hold weights and stay as they are."""
    return tuple(file.path for file in original.all_files() if file.path.lower().endswith(PICKLES))


def _count(annotation: str | None) -> int:
    """A number from a manifest's annotations; 0 for what is none."""
    return int(annotation) if annotation and re.fullmatch(r"[0-9]{1,15}", annotation) else 0


def _repo(repo: Repo, transform: str, made: Mapping[Chunks, Made]) -> Repo:
    files = tuple(RepoFile(file.path, *made[file.chunks]) if changes(file, made) else file for file in repo.files)
    if files == repo.files:
        return repo
    listing = "".join(f"{file.blob} {file.path}\n" for file in files)
    commit = hex_of(f"{transform}\n{repo.commit}\n{listing}".encode())[:40]
    return msgspec.structs.replace(repo, commit=commit, files=files)
