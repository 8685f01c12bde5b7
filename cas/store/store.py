"""A store: verified chunks and manifests over a bucket. Children are written before parents."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cas import config
from cas.bucket import Bucket, Entry, Kind, RetryPolicy, open_bucket
from cas.errors import (
    ChunkCorrupt,
    ChunkMissing,
    FormatError,
    InputError,
    IntegrityError,
    ManifestCorrupt,
    ManifestMissing,
    NotFoundError,
    ObjectMissing,
    StoreMissing,
    Unsupported,
)
from cas.formats import manifest
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.manifest import ChunkRef, Manifest
from cas.parallel import ReusableBuffer, for_each
from cas.store import layout
from cas.store.layout import (
    CHUNK_FOLDERS,
    FORMAT_KEY,
    LAYOUT_VERSION,
    VersionId,
    chunk_digest,
    chunk_folder,
    chunk_key,
    manifest_key,
)

if TYPE_CHECKING:
    from cas.formats.frame import Decoder, Encoder

T = TypeVar("T")

# A flipped bit on the way is cured by asking again; one in the store is not.
_FETCHES = 3

# Above this many lookups, listing the 256 chunk folders costs less than asking for each chunk.
_LISTING_PAYS = 1024


class _Format(msgspec.Struct, frozen=True):
    format: str
    version: int


class Store:
    """Chunks and manifests at one place; every byte it hands out has been hashed."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._checked = False
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where the store is."""
        return self.bucket.url

    def check_format(self) -> None:
        """Raises StoreMissing when there is no store here, FormatError when a newer version made it."""
        with self._lock:
            if self._checked:
                return
            try:
                self.document(FORMAT_KEY, 64 * 1024, self._read_format)
            except ObjectMissing:
                raise StoreMissing(self.url) from None
            self._checked = True

    def _read_format(self, data: bytes) -> None:
        try:
            found = msgspec.json.decode(data, type=_Format)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise FormatError(f"{FORMAT_KEY} in {self.url} is not a store's: is this the right URL?") from None
        if found.format != "cas" or found.version != LAYOUT_VERSION:
            raise FormatError(
                f"store {self.url} has format {found.format!a} version {found.version}; this program knows "
                f"cas version {LAYOUT_VERSION}: upgrade model-cas"
            )

    def document(self, key: str, limit: int, read: Callable[[bytes], T]) -> T:
        """A small object as `read` understands it, fetched once more when it arrived damaged.

        Raises ObjectMissing, and what `read` raises the second time.
        """
        try:
            return read(bytes(self.bucket.get(key, limit)))
        except (IntegrityError, FormatError):
            return read(bytes(self.bucket.get(key, limit)))

    def create(self) -> None:
        """Makes this a store unless it is one; raises FormatError when a newer version made it."""
        try:
            self.check_format()
        except NotFoundError:
            self.bucket.put(FORMAT_KEY, msgspec.json.encode(_Format("cas", LAYOUT_VERSION)), Kind.DOCUMENT)
            self.check_format()

    def get_chunk(self, ref: ChunkRef, decoder: Decoder) -> tuple[memoryview, int]:
        """The plain bytes of a chunk, valid until the decoder's next use, and the bytes its frame took.

        Raises ChunkMissing, or ChunkCorrupt when it arrives damaged every time.
        """
        frame = self.get_frame(ref)
        return self.open_frame(ref, frame, decoder), len(frame)

    def get_frame(self, ref: ChunkRef, room: ReusableBuffer | None = None) -> Buffer:
        """The frame of a chunk as stored: not verified yet. Raises ChunkMissing.

        room: memory to use; the frame is then part of it, and valid until its next use.
        """
        from cas.formats.frame import largest_frame

        limit, key = largest_frame(ref.size), chunk_key(ref.digest)
        try:
            if room is None:
                return self.bucket.get(key, limit)
            view = room.view(limit)
            return view[: self.bucket.get_into(key, view)]
        except ObjectMissing:
            raise ChunkMissing(named(ref.digest), self.url) from None

    def open_frame(self, ref: ChunkRef, frame: Buffer, decoder: Decoder) -> memoryview:
        """The verified plain bytes of `frame`, fetched again when it arrived damaged.

        Raises ChunkCorrupt when it stays damaged, FormatError when a newer version wrote it.
        """
        for fetch in range(1, _FETCHES + 1):
            try:
                plain = decoder.decode(frame, ref.size)
                if (got := hex_of(plain)) != ref.digest:
                    raise IntegrityError(f"it decodes to bytes of digest {named(got)}")
                return plain
            except (IntegrityError, FormatError) as error:
                if fetch == _FETCHES:
                    if isinstance(error, FormatError):
                        raise
                    raise ChunkCorrupt(named(ref.digest), self.url, str(error)) from error
            frame = self.get_frame(ref)
        raise AssertionError("unreachable: the last fetch returns or raises")

    @staticmethod
    def make_frame(digest: str, plain: Buffer, width: int | None, encoder: Encoder, decoder: Decoder) -> bytearray:
        """The frame of a chunk, proven to decode to what `digest` names before anybody sends it.

        Raises IntegrityError when `plain` is not that chunk: its file changed since it was hashed.
        """
        frame = encoder.encode(plain, width)
        if (got := hex_of(decoder.decode(frame, len(plain)))) != digest:
            raise IntegrityError(f"bytes of digest {named(got)} were given for chunk {named(digest)}")
        return frame

    def put_frame(self, digest: str, frame: Buffer, *, overwrite: bool = False) -> None:
        """Stores a chunk's frame. overwrite: replace a damaged one."""
        self.bucket.put(chunk_key(digest), frame, Kind.CHUNK, overwrite=overwrite)

    def has_chunk(self, digest: str) -> bool:
        """Whether the store holds a chunk, asked of the server now."""
        return self.bucket.exists(chunk_key(digest))

    def present(self, digests: Mapping[str, int], limits: config.Limits) -> set[str]:
        """Those of `digests` that the store holds, each asked of the server now."""
        if len(digests) <= _LISTING_PAYS:
            return _those(self.has_chunk, digests, limits)
        found: set[str] = set()
        self.list_chunks(lambda digest, _: found.add(digest), limits, {chunk_folder(digest) for digest in digests})
        return found & digests.keys()

    def stored_sizes(self, digests: Collection[str], limits: config.Limits) -> dict[str, int]:
        """Bytes that each chunk takes in the store, as the server says now; what it does not hold is left out."""
        found: dict[str, int] = {}
        if len(digests) > _LISTING_PAYS:
            with contextlib.suppress(Unsupported):
                wanted = set(digests)

                def visit(digest: str, entry: Entry) -> None:
                    if digest in wanted:
                        found[digest] = entry.size

                self.list_chunks(visit, limits, {chunk_folder(digest) for digest in digests})
                return found

        def look(digest: str) -> None:
            with contextlib.suppress(ObjectMissing):
                found[digest] = self.bucket.head(chunk_key(digest)).size

        for_each(look, digests, threads=min(limits.requests * 2, max(1, len(digests))))
        return found

    def list_chunks(
        self,
        visit: Callable[[str, Entry], None],
        limits: config.Limits,
        folders: Collection[str] = CHUNK_FOLDERS,
    ) -> None:
        """Call `visit` for every chunk that the store holds, in no particular order: a list could fill the memory.

        Args:
            visit: takes the digest (64 hex) and the entry of a chunk; called by several threads, by one at a time.
            limits: how many folders are listed at once.
            folders: those to list, by default all.

        Raises Unsupported over https.
        """
        visiting = threading.Lock()

        def look(folder: str) -> None:
            listed = self.bucket.list(folder)
            with visiting:
                for entry in listed:
                    if (digest := chunk_digest(entry.key)) is not None:
                        visit(digest, entry)

        if folders:
            for_each(look, sorted(folders), threads=min(limits.requests, len(folders)))

    def get_manifest(self, model: str, digest: str) -> Manifest:
        """A verified manifest; raises ManifestMissing, ManifestCorrupt, or FormatError when it is hostile or newer."""

        def read(data: bytes) -> Manifest:
            if (got := hex_of(data)) != digest:
                raise ManifestCorrupt(named(digest), named(got), self.url)
            found = manifest.parse(data)
            if found.model != model:
                raise FormatError(f"manifest {named(digest)} is of model {found.model}, not {model}: refusing it")
            return found

        try:
            return self.document(manifest_key(model, digest), manifest.MAX_MANIFEST, read)
        except ObjectMissing:
            raise ManifestMissing(model, named(digest), self.url) from None

    def put_manifest(self, new: Manifest) -> str:
        """Stores a manifest, whose chunks the caller has stored before, and returns its digest (64 hex)."""
        data = manifest.encode(new)
        digest = hex_of(data)
        self.bucket.put(manifest_key(new.model, digest), data, Kind.MANIFEST)
        return digest

    def versions(self, model: str) -> list[str]:
        """Digests (64 hex) of a model's manifests, oldest first by the server's clock."""
        listed = self.list_manifests(model)
        return [digest for _, digest in sorted((entry.modified, version.digest) for version, entry in listed.items())]

    def list_manifests(self, model: str | None = None) -> dict[VersionId, Entry]:
        """Every version whose manifest the store holds, of all models or of one; raises Unsupported over https."""
        listed = self.bucket.list(layout.MANIFESTS if model is None else layout.manifest_folder(model))
        return {version: entry for entry in listed if (version := layout.version_id(entry.key)) is not None}

    def find_version(self, model: str, prefix: str) -> str:
        """The one version whose digest begins with `prefix`; raises NotFoundError, InputError when several do."""
        matches = [digest for digest in self.versions(model) if digest.startswith(prefix)]
        if not matches:
            raise NotFoundError(f"model {model} has no version {prefix}… in {self.url}: see `cas ls {model}`")
        if len(matches) > 1:
            shown = ", ".join(digest[:16] for digest in matches[:4])
            raise InputError(f"{model}@{prefix} is ambiguous ({shown}): give more digits")
        return matches[0]

    def models(self) -> list[str]:
        """Names of all models with a manifest."""
        keys = (entry.key.split("/") for entry in self.bucket.list(layout.MANIFESTS))
        return sorted({parts[1] for parts in keys if len(parts) == 3})


def open_store(store: Store | str | None = None, *, policy: RetryPolicy | None = None) -> Store:
    """The store that a caller means; makes no request.

    Args:
        store: an open one, which is returned as it is; a URL; or None for the default (CAS_STORE and its successors in
            docs/operations.md).
        policy: how patient to be with the server.

    Raises InputError for an unknown scheme, AccessDenied when credentials are missing.
    """
    return store if isinstance(store, Store) else Store(open_bucket(config.store_url(store), policy))


def _those(holds: Callable[[str], bool], digests: Mapping[str, int], limits: config.Limits) -> set[str]:
    found: set[str] = set()

    def look(digest: str) -> None:
        if holds(digest):
            found.add(digest)

    for_each(look, digests, threads=min(limits.requests * 2, max(1, len(digests))))
    return found
