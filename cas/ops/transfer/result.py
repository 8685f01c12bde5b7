"""What an operation between stores did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy, a mirror or an import did.

    Attributes:
        versions: the versions that were brought, as `model@blake3:<64 hex>`; the destination has all their chunks.
        total: plain bytes of their distinct chunks.
        copied: plain bytes of the chunks that the destination did not have.
        wire: bytes of the frames that were sent there.
        chunks: how many distinct chunks the versions have.
        copied_chunks: how many of them the destination did not have.
        moved: the tags and pins that name another version there than before.
        removed: the tags and pins that were removed there, or would be without `dry_run`.
        extra: the tags and pins that a mirror found there alone, and left.
        originals: the versions that variants among `versions` were derived from and that the destination lacks.
        seconds: wall time.
        source: URL or path of the store or archive that was read.
        store: URL or path of the store that was written.
        dry_run: whether nothing was written.
        made_store: whether the store was made.
    """

    versions: tuple[str, ...]
    total: int
    copied: int
    wire: int
    chunks: int
    copied_chunks: int
    moved: tuple[str, ...]
    removed: tuple[str, ...]
    extra: tuple[str, ...]
    originals: tuple[str, ...]
    seconds: float
    source: str
    store: str
    dry_run: bool = False
    made_store: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did.

    Attributes:
        versions: the versions in the archive, as `model@blake3:<64 hex>`.
        refs: the tags and pins in it.
        file: the archive's path; `-` for standard output.
        size: bytes of the archive.
        total: plain bytes of the versions' distinct chunks.
        chunks: how many distinct chunks there are.
        originals: the versions that variants among `versions` were derived from and that are not in the archive.
        seconds: wall time.
        store: URL or path of the store.
    """

    versions: tuple[str, ...]
    refs: tuple[str, ...]
    file: str
    size: int
    total: int
    chunks: int
    originals: tuple[str, ...]
    seconds: float
    store: str
