"""Manifests of a store: fetch one, verify it, and parse as much of it as the caller needs; write one by its bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from cas.bucket import Kind
from cas.errors import FormatError, ManifestCorrupt, ManifestMissing, ObjectMissing
from cas.formats import manifest
from cas.formats.digest import hex_of, named
from cas.formats.manifest import Manifest
from cas.store.layout import VersionId, manifest_key

if TYPE_CHECKING:
    from cas.store.store import Store


class OfModel(Protocol):
    """What a parser makes of a manifest: the whole of it, or a part."""

    @property
    def model(self) -> str:
        """The model that the manifest says it is of."""


class WholeManifest(NamedTuple):
    """A manifest with its exact bytes, which a copy keeps: those of version 1 may be written in several ways.

    Attributes:
        data: its bytes.
        manifest: what they say.
    """

    data: bytes
    manifest: Manifest

    @property
    def model(self) -> str:
        """The model that the manifest says it is of."""
        return self.manifest.model


M = TypeVar("M", bound=OfModel)


def read_manifest(store: Store, version: VersionId, parse: Callable[[bytes], M]) -> M:
    """Fetch and verify a manifest, and return what `parse` makes of its bytes.

    Args:
        store: to read from.
        version: whose manifest is wanted.
        parse: `manifest.parse` for the whole manifest, or a function of `cas.formats.outline` for a part of it.

    Raises:
        ManifestMissing: the store does not have it.
        ManifestCorrupt: its bytes have another digest.
        FormatError: `parse` refuses it, or it is of another model.
    """
    digest = named(version.digest)

    def read(data: bytes) -> M:
        if (got := hex_of(data)) != version.digest:
            raise ManifestCorrupt(digest, named(got), store.url)
        found = parse(data)
        if found.model != version.model:
            raise FormatError(f"manifest {digest} is of model {found.model}, not {version.model}: refusing it")
        return found

    try:
        return store.get_document(manifest_key(*version), manifest.MAX_MANIFEST, read)
    except ObjectMissing:
        raise ManifestMissing(version.model, digest, store.url) from None


def whole_manifest(data: bytes) -> WholeManifest:
    """Return a manifest with its bytes: a `parse` of `read_manifest`; raises what `manifest.parse` raises."""
    return WholeManifest(data, manifest.parse(data))


def write_manifest(store: Store, version: VersionId, data: bytes, *, renew: bool = False) -> None:
    """Write a manifest, whose chunks the caller has stored or found before.

    The chunks are made durable before, and the manifest after it is written. Other bytes that have its name can only be
    damage, and are replaced.

    Args:
        store: where it is written.
        version: the model, and the digest of the bytes.
        data: the bytes, which `manifest.parse` accepts.
        renew: write it also where it is already, so that it is young: for a version that no ref names.
    """
    store.bucket.settle()
    key = manifest_key(*version)
    if renew or not store.bucket.put(key, data, Kind.MANIFEST):
        store.bucket.put(key, data, Kind.MANIFEST, overwrite=True)
    store.bucket.settle()
