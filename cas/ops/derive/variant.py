"""What makes a manifest a variant: the name of its transform, its annotations, its commits, and its changed files."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec

from cas.errors import FormatError, InputError
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, Derived, Derived1, Manifest, PlainFile, Repo, RepoFile
from cas.formats.paths import PICKLE_SUFFIXES
from cas.ops.derive.cast import TARGETS
from cas.ops.derive.nearest import Verdict
from cas.refs.reference import Resolved

Chunks: TypeAlias = tuple[ChunkRef, ...]

SUFFIX = ".safetensors"
"""The ending of the names of files that are cast."""

CAST = "cast:"
"""What the name of a cast's transform begins with; the type follows."""

_F5_TTS = "SWivid/F5-TTS"

# The annotations of a variant's manifest.
TENSORS = "cast.tensors"
PROOF = "cast.proof"
OVERFLOWED = "cast.overflowed"
NANS = "cast.nans"


class NewContent(NamedTuple):
    """The content of a cast file.

    Attributes:
        size: in bytes.
        blob: its sha256.
        chunks: its chunks.
    """

    size: int
    blob: str
    chunks: tuple[ChunkRef, ...]


def transform_of(cast: str) -> str:
    """Return the recorded name of a cast: `cast:float16`; raise InputError for a type that is not offered."""
    if cast not in TARGETS:
        raise InputError(f"{cast!a} is not a type to cast to: choose {' or '.join(TARGETS)}")
    return CAST + cast


def target_of(derived: Derived | None, reference: str) -> str:
    """Return the type that a variant was cast to, as safetensors names it.

    Args:
        derived: the `derived` field of the variant's manifest.
        reference: what the error calls the variant.

    Raises:
        InputError: the version is no cast variant.
        FormatError: this program does not know the type.
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
    """Raise InputError when the version is itself a cast variant: rounding twice is not rounding once."""
    derived = resolved.manifest.derived
    if derived is not None and derived.transform.startswith(CAST):
        original = f"{resolved.manifest.model}@{derived.parent}"
        raise InputError(
            f"{resolved.reference} is itself a variant ({derived.transform}): derive from its original, {original}"
        )


def proof_annotations(tensors: int, listing: str, verdict: Verdict) -> dict[str, str]:
    """Return the annotations that record a proof.

    Args:
        tensors: how many tensors were cast.
        listing: the digest of the proof's listing.
        verdict: what the proof found.
    """
    found = {TENSORS: str(tensors), PROOF: listing}
    if verdict.overflowed:
        found[OVERFLOWED] = str(verdict.overflowed)
    if verdict.nans:
        found[NANS] = str(verdict.nans)
    return found


@dataclass(frozen=True, slots=True)
class VariantRecord:
    """What the manifest of a variant records about the derivation.

    Attributes:
        original: the reference that names the original version for ever.
        transform: what was done to it, such as `cast:float16`.
        equivalent: in words, what the variant is equivalent to, and when.
        tensors: how many tensors were cast.
        overflowed: how many of their finite elements became infinite.
        proof: the digest of the proof's listing; empty when none is recorded.
    """

    original: str
    transform: str
    equivalent: str
    tensors: int
    overflowed: int
    proof: str


def variant_record(manifest: Manifest) -> VariantRecord | None:
    """Return what a manifest records about its derivation; None for a version that is no variant."""
    if manifest.derived is None:
        return None
    derived, known = manifest.derived, manifest.annotations
    return VariantRecord(
        f"{manifest.model}@{derived.parent}",
        derived.transform,
        derived.equivalent
        if isinstance(derived, Derived1)
        else _equivalence(derived.transform, NANS in known, _F5_TTS in {repo.repo_id for repo in manifest.repos}),
        _count(known.get(TENSORS)),
        _count(known.get(OVERFLOWED)),
        known.get(PROOF, ""),
    )


def repos(original: Manifest, transform: str, made: Mapping[Chunks, NewContent]) -> tuple[Repo, ...]:
    """Return the original's repos with the cast files in place of their originals.

    A repo with a cast file gets a commit of its own, which is computed from its content and the transform: upstream's
    commit names upstream's bytes.

    Args:
        original: the original's manifest.
        transform: the recorded name of the cast.
        made: the new content of each safetensors file that was cast, by its original chunks.
    """
    return tuple(_repo(repo, transform, made) for repo in original.repos)


def plain_files(original: Manifest, made: Mapping[Chunks, NewContent]) -> tuple[PlainFile, ...]:
    """Return the original's plain files with the cast files in place of their originals; arguments as for `repos`."""
    return tuple(
        PlainFile(file.path, made[file.chunks].size, made[file.chunks].chunks) if is_cast(file, made) else file
        for file in original.files
    )


def is_cast(file: RepoFile | PlainFile, made: Container[Chunks]) -> bool:
    """Whether a file of the original is cast. Its name counts, too: a file of another kind may have the same bytes."""
    return file.path.endswith(SUFFIX) and file.chunks in made


def pickles(original: Manifest) -> tuple[str, ...]:
    """Return the paths of the pickles: they may hold weights, and stay as they are."""
    return tuple(file.path for file in original.all_files() if file.path.lower().endswith(PICKLE_SUFFIXES))


def _equivalence(transform: str, has_nans: bool, is_f5_tts: bool) -> str:
    """In words, what a variant is equivalent to, and when; empty for a transform that this program does not know."""
    cast = transform.removeprefix(CAST)
    if cast not in TARGETS:
        return ""
    example = ", as F5-TTS does on CUDA" if cast == "float16" and is_f5_tts else ""
    nans = "; NaNs stay NaNs, whose bits differ from machine to machine" if has_nans else ""
    return f"bit-equal weights wherever the loader casts to {cast} before use{example}{nans}"


def _count(annotation: str | None) -> int:
    """The number in an annotation; 0 for anything else."""
    return int(annotation) if annotation and re.fullmatch(r"[0-9]{1,15}", annotation) else 0


def _repo(repo: Repo, transform: str, made: Mapping[Chunks, NewContent]) -> Repo:
    files = tuple(RepoFile(file.path, *made[file.chunks]) if is_cast(file, made) else file for file in repo.files)
    if files == repo.files:
        return repo
    listing = "".join(f"{file.blob} {file.path}\n" for file in files)
    commit = hex_of(f"{transform}\n{repo.commit}\n{listing}".encode())[:40]
    return msgspec.structs.replace(repo, commit=commit, files=files)
