"""What a repair may take bytes from: another store, files on this machine, or a hub. All their bytes are verified."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from cas import events
from cas.bucket.urls import is_url
from cas.config import CacheDirs, expand_user
from cas.errors import FormatError, InputError, IntegrityError, ManifestCorrupt, NotFoundError
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.frame import MAX_CHUNK, Decoder, claimed_size
from cas.formats.manifest import MAX_MANIFEST, ChunkRef, Manifest
from cas.host import Limits
from cas.local.fs import open_for_reading, read_at
from cas.local.seeds import find_chunks
from cas.local.targets import ChunkLocation, LocalFiles, Target, targets_of
from cas.store.layout import FORMAT_KEY, VersionId, manifest_key
from cas.store.store import Store, open_store

HUB = "hf"

Manifests: TypeAlias = Iterable[tuple[VersionId, Manifest]]

Sizes: TypeAlias = Mapping[str, int]
"""Plain sizes of chunks, by digest (64 hex)."""


class PreparedSource(ABC):
    """A source that has found out what it has."""

    @abstractmethod
    def read_chunk(self, digest: str, size: int | None, decoder: Decoder) -> Buffer | None:
        """Return what the source has under the name of a chunk, which need not be that chunk; None if nothing.

        Args:
            digest: of the chunk, 64 hex.
            size: its plain bytes, None if no version tells.
            decoder: may own the memory of the bytes, which are then valid until its next use.
        """


class RepairSource(ABC):
    """Something that a repair may take bytes from.

    Attributes:
        name: as the user wrote it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def prepare(
        self, wanted: Sizes, manifests: Manifests, limits: Limits, listen: events.Listener
    ) -> AbstractContextManager[PreparedSource]:
        """Look for chunks; the context ends when they have been read.

        Args:
            wanted: the chunks to look for.
            manifests: those that may need some of these chunks.
            limits: how much of the machine the search may use.
            listen: is told of progress.

        Raises:
            StoreError: the source cannot be reached or refuses.
        """

    def read_manifest(self, version: VersionId) -> bytes | None:
        """Return the bytes of a version's manifest, verified by its digest; None if the source lacks them."""
        return None


class OtherStore(RepairSource, PreparedSource):
    """Another store, a copy of this one, or an archive.

    Attributes:
        store: the other store.
    """

    def __init__(self, name: str, store: Store) -> None:
        super().__init__(name)
        self.store = store

    @contextmanager
    def prepare(
        self, wanted: Sizes, manifests: Manifests, limits: Limits, listen: events.Listener
    ) -> Iterator[PreparedSource]:
        yield self

    def read_chunk(self, digest: str, size: int | None, decoder: Decoder) -> Buffer | None:
        try:
            ref = ChunkRef(digest, size or MAX_CHUNK)
            frame = self.store.get_frame(ref)
            return self.store.open_frame(ref if size else ChunkRef(digest, claimed_size(frame)), frame, decoder)
        except (NotFoundError, IntegrityError, FormatError):
            return None

    def read_manifest(self, version: VersionId) -> bytes | None:
        def verified(data: bytes) -> bytes:
            if (got := hex_of(data)) != version.digest:
                raise ManifestCorrupt(named(version.digest), named(got), self.store.url)
            return data

        try:
            return self.store.get_document(manifest_key(*version), MAX_MANIFEST, verified)
        except (NotFoundError, IntegrityError, FormatError):
            return None


class LocalDirectory(RepairSource):
    """A hub cache, an HF_HOME or a folder of weights on this machine."""

    @contextmanager
    def prepare(
        self, wanted: Sizes, manifests: Manifests, limits: Limits, listen: events.Listener
    ) -> Iterator[PreparedSource]:
        directory = expand_user(self.name).absolute()
        yield _LocalChunks(_find_locations(directory, wanted, manifests, limits, listen))


class Hub(RepairSource):
    """The hub that versions were published from. A commit on a hub never changes, but may be deleted."""

    @contextmanager
    def prepare(
        self, wanted: Sizes, manifests: Manifests, limits: Limits, listen: events.Listener
    ) -> Iterator[PreparedSource]:
        from cas.hub.repair import download_damaged_files

        listen(events.Phase("download"))
        with tempfile.TemporaryDirectory(prefix="cas-fsck-") as scratch:
            read = list(manifests)
            download_damaged_files(wanted.keys(), (manifest for _, manifest in read), Path(scratch), listen)
            yield _LocalChunks(_find_locations(Path(scratch), wanted, read, limits, listen))


def open_sources(given: Iterable[str], store: Store) -> list[RepairSource]:
    """Open the sources that a user named.

    Args:
        given: URLs, directories or `hf`.
        store: the store to be repaired, which is no source.

    Raises:
        InputError: a name is that of no source.
        CasError: a store among them cannot be opened.
    """
    return [_open_source(name, store) for name in given]


def _open_source(name: str, store: Store) -> RepairSource:
    if name == HUB:
        return Hub(name)
    directory = expand_user(name)
    if is_url(name) or os.path.isfile(directory) or os.path.exists(directory / FORMAT_KEY):
        other = open_store(name)
        if other.url == store.url:
            raise InputError(f"--repair-from {name} is the store to be repaired: name another source")
        other.check_format()
        return OtherStore(name, other)
    if not directory.is_dir():
        raise InputError(f"--repair-from {name} is no directory: name a store, a hub cache, a folder of weights or hf")
    return LocalDirectory(name)


class _LocalChunks(PreparedSource):
    """Chunks that seem to lie in local files."""

    def __init__(self, locations: Mapping[ChunkRef, ChunkLocation]) -> None:
        self._locations = locations

    def read_chunk(self, digest: str, size: int | None, decoder: Decoder) -> Buffer | None:
        location = self._locations.get(ChunkRef(digest, size)) if size else None
        if location is None or size is None:
            return None
        view = memoryview(bytearray(size))
        try:
            with open_for_reading(location.path) as fd:
                return view if read_at(fd, view, location.offset) == size else None
        except OSError:
            return None


def _find_locations(
    directory: Path, wanted: Sizes, manifests: Manifests, limits: Limits, listen: events.Listener
) -> Mapping[ChunkRef, ChunkLocation]:
    """Find where below a directory chunks seem to lie, by the names and sizes of the files that they belong to."""
    # `find_chunks` searches for targets of a restore. Their cache is a directory that does not exist, because a restore
    # would find what is in its own cache by other means.
    nowhere = directory / f".cas-{os.urandom(8).hex()}"
    lacking: dict[tuple[str, tuple[str, ...]], tuple[Target, LocalFiles]] = {}
    for _, manifest in manifests:
        for target in targets_of(manifest, CacheDirs(nowhere / "hub", nowhere)):
            sound = frozenset(index for index, chunk in enumerate(target.chunks) if chunk.digest not in wanted)
            if len(sound) < len(target.chunks):
                lacking[target.content, target.components] = target, LocalFiles(partial=(((), sound),))
    if not lacking:
        return {}
    targets, local = zip(*lacking.values(), strict=True)
    return find_chunks(targets, local, [directory], limits, listen)
