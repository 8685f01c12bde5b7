"""Where a repair may take bytes from: another store, files on this machine, or a hub. None of them is believed."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from cas import events
from cas.config import CacheDirs, Limits
from cas.errors import FormatError, InputError, IntegrityError, ManifestCorrupt, NotFoundError
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.frame import MAX_CHUNK, Decoder, claimed_size
from cas.formats.manifest import MAX_MANIFEST, ChunkRef, Manifest
from cas.local.fs import open_for_reading, read_at
from cas.local.seeds import find_chunks
from cas.local.targets import ChunkLocation, LocalFiles, Target, targets_of
from cas.store.layout import FORMAT_KEY, VersionId, manifest_key
from cas.store.store import Store, open_store

HUB = "hf"

Documents: TypeAlias = Iterable[tuple[VersionId, Manifest]]
Wanted: TypeAlias = Mapping[str, int]


class Ready(ABC):
    """A source that has been asked what it has."""

    @abstractmethod
    def plain(self, digest: str, size: int | None, decoder: Decoder) -> Buffer | None:
        """What it has under the name of a chunk, valid until the decoder's next use; None when it has nothing.

        size: plain bytes, None where no version tells.
        """


class Source(ABC):
    """One place. name: as the user wrote it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def ready(
        self, wanted: Wanted, versions: Documents, limits: Limits, listen: events.Listener
    ) -> AbstractContextManager[Ready]:
        """The source, having looked for chunks `wanted` (plain sizes by 64 hex).

        versions: those that need some of them. Raises StoreError when it cannot be asked.
        """

    def document(self, version: VersionId) -> bytes | None:
        """The bytes that a manifest's name promises, None when it does not have them."""
        return None


class OtherStore(Source, Ready):
    """Another store, or a copy of this one."""

    def __init__(self, name: str, store: Store) -> None:
        super().__init__(name)
        self._store = store

    @contextmanager
    def ready(self, wanted: Wanted, versions: Documents, limits: Limits, listen: events.Listener) -> Iterator[Ready]:
        yield self

    def plain(self, digest: str, size: int | None, decoder: Decoder) -> Buffer | None:
        try:
            ref = ChunkRef(digest, size or MAX_CHUNK)
            frame = self._store.get_frame(ref)
            return self._store.open_frame(ref if size else ChunkRef(digest, claimed_size(frame)), frame, decoder)
        except (NotFoundError, IntegrityError, FormatError):
            return None

    def document(self, version: VersionId) -> bytes | None:
        def read(data: bytes) -> bytes:
            if (got := hex_of(data)) != version.digest:
                raise ManifestCorrupt(named(version.digest), named(got), self._store.url)
            return data

        try:
            return self._store.get_document(manifest_key(*version), MAX_MANIFEST, read)
        except (NotFoundError, IntegrityError, FormatError):
            return None


class Files(Source):
    """A hub cache, an HF_HOME or a folder of weights."""

    @contextmanager
    def ready(self, wanted: Wanted, versions: Documents, limits: Limits, listen: events.Listener) -> Iterator[Ready]:
        yield _Spots(_spots(Path(self.name).expanduser().absolute(), wanted, versions, limits, listen))


class FromHub(Source):
    """The hub that the versions once came from: their commits are there for ever, or gone."""

    @contextmanager
    def ready(self, wanted: Wanted, versions: Documents, limits: Limits, listen: events.Listener) -> Iterator[Ready]:
        from cas.hub.repair import download_damaged_files

        listen(events.Phase("download"))
        with tempfile.TemporaryDirectory(prefix="cas-fsck-") as folder:
            held = list(versions)
            download_damaged_files(wanted.keys(), (manifest for _, manifest in held), Path(folder), listen)
            yield _Spots(_spots(Path(folder), wanted, held, limits, listen))


def open_sources(given: Iterable[str], store: Store) -> list[Source]:
    """The sources a user named; raises InputError, and what opening a store raises."""
    return [_opened(name, store) for name in given]


def _opened(name: str, store: Store) -> Source:
    if name == HUB:
        return FromHub(name)
    folder = Path(name).expanduser()
    if "://" in name or os.path.exists(folder / FORMAT_KEY):
        other = open_store(name)
        if other.url == store.url:
            raise InputError(f"--repair-from {name} is the store to be repaired: name another source")
        other.check_format()
        return OtherStore(name, other)
    if not folder.is_dir():
        raise InputError(f"--repair-from {name} is no directory: name a store, a hub cache, a folder of weights or hf")
    return Files(name)


class _Spots(Ready):
    """Places in local files where chunks seem to lie."""

    def __init__(self, spots: Mapping[ChunkRef, ChunkLocation]) -> None:
        self._spots = spots

    def plain(self, digest: str, size: int | None, decoder: Decoder) -> Buffer | None:
        spot = self._spots.get(ChunkRef(digest, size)) if size else None
        if spot is None or size is None:
            return None
        view = memoryview(bytearray(size))
        try:
            with open_for_reading(spot.path) as fd:
                return view if read_at(fd, view, spot.offset) == size else None
        except OSError:
            return None


def _spots(
    folder: Path, wanted: Wanted, versions: Documents, limits: Limits, listen: events.Listener
) -> Mapping[ChunkRef, ChunkLocation]:
    """Where below a folder chunks seem to lie, by the names and sizes of the files they are chunks of."""
    # A restore would find what lies in its own cache by other means; here nothing does.
    nowhere = folder / f".cas-{os.urandom(8).hex()}"
    lacking: dict[tuple[str, tuple[str, ...]], tuple[Target, LocalFiles]] = {}
    for _, manifest in versions:
        for target in targets_of(manifest, CacheDirs(nowhere / "hub", nowhere)):
            sound = frozenset(at for at, chunk in enumerate(target.chunks) if chunk.digest not in wanted)
            if len(sound) < len(target.chunks):
                lacking[target.content, target.components] = target, LocalFiles(partial=(((), sound),))
    if not lacking:
        return {}
    wants, local = zip(*lacking.values(), strict=True)
    return find_chunks(wants, local, [folder], limits, listen)
