"""Reading a manifest of a store: fetch it, verify it, and parse as much of it as the caller needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from cas.errors import FormatError, ManifestCorrupt, ManifestMissing, ObjectMissing
from cas.formats import manifest
from cas.formats.digest import hex_of, named
from cas.store.layout import VersionId, manifest_key

if TYPE_CHECKING:
    from cas.store.store import Store


class OfModel(Protocol):
    """What a parser makes of a manifest: the whole of it, or a part."""

    @property
    def model(self) -> str:
        """The model that the manifest says it is of."""


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
