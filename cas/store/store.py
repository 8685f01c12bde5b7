"""A store: verified chunks and manifests over a bucket.

Writers store children before parents: a version's chunks, then its manifest, then the ref that names it. So whatever a
ref names can be restored, even when its writer was killed at any moment.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from cas.bucket import Bucket, Entry, Kind, RetryPolicy, open_bucket
from cas.errors import (
    ChunkCorrupt,
    ChunkMissing,
    FormatError,
    InputError,
    IntegrityError,
    NotFoundError,
    ObjectMissing,
    StoreMissing,
)
from cas.formats import manifest
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.manifest import ChunkRef, Manifest
from cas.parallel import ReusableBuffer
from cas.store import format_file, layout
from cas.store.choice import store_url
from cas.store.layout import VersionId
from cas.store.manifests import read_manifest, write_manifest
from cas.store.signing import Signing, store_name

if TYPE_CHECKING:
    from cas.bucket.body import Body
    from cas.formats.frame import Codec, Decoder

T = TypeVar("T")

CHUNK_FETCHES = 3
"""How often a chunk is fetched until it counts as damaged: a bit flipped on the way is cured by another fetch, and one
that is flipped in the store is not."""


class Store(Signing):
    """Chunks and manifests in one bucket. All bytes that it returns have been hashed, except those of `get_frame`.

    `open_store` configures whose signatures of refs count; a store made otherwise asks for none.

    Attributes:
        bucket: the objects behind the store, for keys other than those of chunks and manifests.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._format_checked = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    @property
    def url(self) -> str:
        """The URL of the store, or the path of a directory."""
        return self.bucket.url

    @property
    def name(self) -> str:
        """The store's name in signatures (`cas.store.signing.store_name`)."""
        return store_name(self.url)

    @property
    def where(self) -> str:
        """The URL or path of the store, with the endpoint of one that is not at AWS: for people."""
        return self.bucket.where

    def check_format(self) -> None:
        """Check, once, that there is a store of a format that this program knows.

        Raises:
            StoreMissing: there is no store here.
            FormatError: a newer version made it, or format.json is not that of a store.
        """
        with self._lock:
            if self._format_checked:
                return
            try:
                self.get_document(layout.FORMAT_KEY, 64 * 1024, lambda data: format_file.check(data, self.url))
            except ObjectMissing:
                raise StoreMissing(self.where) from None
            self._format_checked = True

    def get_document(self, key: str, limit: int, read: Callable[[bytes], T]) -> T:
        """Fetch a small object and return what `read` makes of its bytes; fetch it once more if `read` rejects it.

        The second fetch cures a document that was damaged on the way.

        Args:
            key: of the object.
            limit: the most bytes that it may have.
            read: parses the bytes; raises IntegrityError or FormatError for those that it rejects.

        Raises:
            ObjectMissing: there is no such object.
            IntegrityError: from `read`, the second time; FormatError likewise.
        """
        try:
            return read(bytes(self.bucket.get(key, limit)))
        except (IntegrityError, FormatError):
            return read(bytes(self.bucket.get(key, limit)))

    def create(self) -> bool:
        """Make a store here unless there is one, and return whether it was made.

        Raises:
            FormatError: a newer version made the store that is here.
        """
        try:
            self.check_format()
            return False
        except StoreMissing:
            self.bucket.put(layout.FORMAT_KEY, format_file.document(), Kind.DOCUMENT)
            self.bucket.settle()
            self.check_format()
            return True

    def get_chunk(self, ref: ChunkRef, decoder: Decoder) -> tuple[memoryview, int]:
        """Fetch a chunk; return its verified plain bytes, and how many bytes its frame took.

        Args:
            ref: digest and plain size of the chunk.
            decoder: owns the memory of the plain bytes, which are valid until its next use.

        Raises:
            ChunkMissing: the store does not have it.
            ChunkCorrupt: it arrived damaged every time.
            FormatError: a newer version wrote its frame.
        """
        frame = self.get_frame(ref)
        return self.open_frame(ref, frame, decoder), len(frame)

    def get_frame(self, ref: ChunkRef, buffer: ReusableBuffer | None = None, body: Body | None = None) -> Buffer:
        """Fetch the frame of a chunk as it is stored; it is not verified yet.

        Args:
            ref: digest and plain size of the chunk.
            buffer: where to put the frame, which is then valid until the buffer's next use; None for fresh memory.
            body: with a buffer, is told how far the frame is, as in `Bucket.get_into`.

        Raises:
            ChunkMissing: the store does not have the chunk.
            ObjectTooLarge: the object is larger than any frame of a chunk of that size.
        """
        from cas.formats.frame import largest_frame

        limit, key = largest_frame(ref.size), layout.chunk_key(ref.digest)
        try:
            if buffer is None:
                return self.bucket.get(key, limit)
            view = buffer.view(limit)
            return view[: self.bucket.get_into(key, view, body)]
        except ObjectMissing:
            raise ChunkMissing(named(ref.digest), self.url) from None

    def open_frame(self, ref: ChunkRef, frame: Buffer, decoder: Decoder, into: memoryview | None = None) -> memoryview:
        """Return the verified plain bytes of a fetched frame; fetch it again while it arrives damaged.

        Args:
            ref: digest and plain size that the bytes must have.
            frame: from `get_frame`.
            decoder: owns the memory of the plain bytes, which are valid until its next use.
            into: memory of just that size for the plain bytes, in place of the decoder's; after an error it holds
                anything.

        Raises:
            ChunkCorrupt: it stayed damaged for CHUNK_FETCHES fetches.
            ChunkMissing: it went before it could be fetched again.
            FormatError: a newer version wrote it.
        """
        for fetch in range(1, CHUNK_FETCHES + 1):
            try:
                plain = decoder.decode(frame, ref.size, into)
                if (got := hex_of(plain)) != ref.digest:
                    raise IntegrityError(f"it decodes to bytes of digest {named(got)}")
                return plain
            except (IntegrityError, FormatError) as error:
                if fetch == CHUNK_FETCHES:
                    if isinstance(error, FormatError):
                        raise
                    raise ChunkCorrupt(named(ref.digest), self.url, str(error)) from error
            frame = self.get_frame(ref)
        raise AssertionError("unreachable: the last fetch returns or raises")

    @staticmethod
    def make_frame(
        digest: str, plain: Buffer, width: int | None, codec: Codec, buffer: ReusableBuffer | None = None
    ) -> Buffer:
        """Encode a chunk, and decode the frame again to prove that it holds what `digest` names before it is sent.

        Args:
            digest: of the plain bytes, 64 hex.
            plain: the plain bytes.
            width: bytes per element, 1 for none, None to find it by sample (see `Encoder.encode`).
            codec: encodes and decodes.
            buffer: where the frame goes, which is then valid until the buffer's next use; None for fresh memory.

        Raises:
            IntegrityError: `plain` is another chunk, because its file changed since it was hashed.
        """
        encoder = codec.encoder
        frame = encoder.encode(plain, width) if buffer is None else encoder.encode_into(buffer, plain, width)
        if (got := hex_of(codec.decoder.decode(frame, len(plain)))) != digest:
            raise IntegrityError(f"bytes of digest {named(got)} were given for chunk {named(digest)}")
        return frame

    def put_frame(self, digest: str, frame: Buffer, *, overwrite: bool = False) -> None:
        """Write a chunk's frame; with `overwrite` over the frame that is stored, which may be damaged or condemned."""
        self.bucket.put(layout.chunk_key(digest), frame, Kind.CHUNK, overwrite=overwrite)

    def has_chunk(self, digest: str) -> bool:
        """Whether the store has a chunk (64 hex): one request to the server."""
        return self.bucket.exists(layout.chunk_key(digest))

    def get_manifest(self, model: str, digest: str) -> Manifest:
        """Fetch, verify and parse a manifest.

        Args:
            model: the model that the manifest must be of.
            digest: of the manifest's bytes, 64 hex.

        Raises:
            ManifestMissing: the store does not have it.
            ManifestCorrupt: its bytes have another digest.
            FormatError: it is hostile, of another model, or written by a newer version.
        """
        return read_manifest(self, VersionId(model, digest), manifest.parse)

    def put_manifest(self, new: Manifest) -> str:
        """Write a manifest as `write_manifest` does, and return its digest (64 hex)."""
        data = manifest.encode(new)
        digest = hex_of(data)
        write_manifest(self, VersionId(new.model, digest), data)
        return digest

    def digests(self, model: str) -> list[str]:
        """Return the digests (64 hex) of a model's manifests, oldest first by the server's clock."""
        listed = self.list_manifests(model)
        return [digest for _, digest in sorted((entry.modified, version.digest) for version, entry in listed.items())]

    def list_manifests(self, model: str | None = None) -> dict[VersionId, Entry]:
        """Return the versions with a manifest in the store, of all models or of one; raise Unsupported over https."""
        listed = self.bucket.list(layout.MANIFESTS if model is None else layout.manifest_folder(model))
        return {version: entry for entry in listed if (version := layout.version_id(entry.key)) is not None}

    def stored_at(self, version: VersionId) -> datetime.datetime:
        """Return when the manifest of a version was written, by the server's clock."""
        return self.bucket.head(layout.manifest_key(*version)).modified

    def find_version(self, model: str, prefix: str) -> str:
        """Return the digest (64 hex) of the only version of a model that begins with `prefix`.

        Raises:
            NotFoundError: no digest begins with it.
            InputError: several do.
        """
        matches = [digest for digest in self.digests(model) if digest.startswith(prefix)]
        if not matches:
            raise NotFoundError(f"model {model} has no version {prefix}… in {self.url}: see `cas ls {model}`")
        if len(matches) > 1:
            shown = ", ".join(digest[:16] for digest in matches[:4])
            raise InputError(f"{model}@{prefix} is ambiguous ({shown}): give more digits")
        return matches[0]

    def models(self) -> list[str]:
        """Return the names of all models with a manifest, sorted."""
        return sorted({version.model for version in self.list_manifests()})


def open_store(store: Store | str | None = None, *, policy: RetryPolicy | None = None) -> Store:
    """Return the store that a caller means, without any request to a server.

    Args:
        store: an open store, which is returned as it is; a URL; or None for the default (CAS_STORE, then what
            docs/operations/set-up.md names after it).
        policy: when requests are given up and how often they are tried again.

    Raises:
        InputError: the URL has an unknown scheme.
        AccessDenied: credentials are missing.
        CasError: what `Signing.configure_signing` raises.
    """
    if isinstance(store, Store):
        return store
    opened = Store(open_bucket(store_url(store), policy))
    opened.configure_signing()
    return opened
