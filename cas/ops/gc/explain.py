"""Why a version or a chunk is retained, or when it may be deleted."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from cas.errors import FormatError, InputError, IntegrityError, NotFoundError
from cas.formats.digest import named
from cas.formats.manifest import timestamp
from cas.host import Limits
from cas.ops.gc.collector import GRACE
from cas.ops.gc.live import LiveSet
from cas.refs.grammar import SHORTEST, digits_in
from cas.refs.reflog import KEPT
from cas.store import layout
from cas.store.condemned import CondemnedSet, condemned_chunks, condemned_sets, condemned_versions
from cas.store.layout import VersionId
from cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known of one digest.

    Attributes:
        kind: `version` or `chunk`.
        name: the full digest; of a version, its reference with the model.
        kept_by: what retains it: refs, receipts and recent publishes, of a chunk each with the version that needs it.
        needed_by: versions that need the chunk, and that nothing retains.
        condemned: for each run that condemned it, when that was and from when on it may be deleted.
    """

    kind: str
    name: str
    kept_by: tuple[str, ...]
    needed_by: tuple[str, ...]
    condemned: tuple[str, ...]


def explain(
    store: Store, digest: str, *, grace: datetime.timedelta = GRACE, keep: int = KEPT, limits: Limits | None = None
) -> Explained:
    """Say what retains a chunk or a version.

    Args:
        store: to look at.
        digest: 8 or more of its hex digits, with or without `blake3:`; a version's reference will do.
        grace: as in `gc`.
        keep: as in `gc`.
        limits: how many requests are made at once.

    Raises:
        InputError: it is no digest, or several chunks and versions begin with it.
        NotFoundError: none does.
        CasError: what `gc` raises for refs that cannot be read.
    """
    prefix = digits_in(digest.strip().rpartition("@")[2])
    if prefix is None:
        raise InputError(f"{digest!a}: give {SHORTEST} or more hex digits of a chunk or a version")
    store.check_format()
    live = LiveSet(store, grace=grace, keep=keep, limits=limits or Limits())
    live.find_roots(datetime.datetime.now(datetime.UTC))
    versions = [version for version in live.manifests if version.digest.startswith(prefix)]
    folder = layout.chunk_folder(prefix)
    digests = filter(None, (layout.chunk_digest(entry.key) for entry in store.bucket.list(folder)))
    chunks = [name for name in digests if name.startswith(prefix)]
    if len(versions) + len(chunks) > 1:
        raise InputError(f"{prefix} is ambiguous: give more digits")
    if versions:
        return _explain_version(store, live, versions[0], grace)
    return _explain_chunk(store, live, chunks[0] if chunks else prefix, exists=bool(chunks), grace=grace)


def _explain_version(store: Store, live: LiveSet, version: VersionId, grace: datetime.timedelta) -> Explained:
    kept_by = tuple(dict.fromkeys(root.reason for root in live.roots if root.version == version))
    sets = [condemned for condemned in _all_condemned(store) if version in condemned_versions(store, condemned)]
    return Explained("version", str(version), kept_by, (), _when_condemned(sets, grace))


def _explain_chunk(store: Store, live: LiveSet, digest: str, *, exists: bool, grace: datetime.timedelta) -> Explained:
    """Explain a chunk of which the first digits may be all that is known, when the store lacks it."""
    needing = {
        version for version in live.manifests
        if any(chunk.startswith(digest) for chunk in _readable_chunks(store, version))
    }  # fmt: skip
    kept_by = tuple(dict.fromkeys(f"{root.reason} ({root.version})" for root in live.roots if root.version in needing))
    if not exists and not needing:
        raise NotFoundError(f"{store.url} has no chunk and no version {digest}…: see `cas ls`")
    sets = [
        condemned for condemned in _all_condemned(store)
        if any(chunk.hex().startswith(digest) for chunk in condemned_chunks(store, condemned))
    ]  # fmt: skip
    name = named(digest) if exists else f"{named(digest)}, which is missing"
    needed_by = tuple(sorted(map(str, needing - live.versions)))
    return Explained("chunk", name, kept_by, needed_by, _when_condemned(sets, grace))


def _readable_chunks(store: Store, version: VersionId) -> Iterable[str]:
    """Return the digests (64 hex) of a version's chunks; none when its manifest cannot be read."""
    try:
        return store.get_manifest(*version).chunks()
    except (IntegrityError, FormatError, NotFoundError):
        return ()


def _all_condemned(store: Store) -> list[CondemnedSet]:
    return condemned_sets(store.bucket.list(layout.COLLECTIONS))


def _when_condemned(sets: Iterable[CondemnedSet], grace: datetime.timedelta) -> tuple[str, ...]:
    return tuple(
        f"marked for deletion at {timestamp(condemned.at)}: deleted after {timestamp(condemned.at + grace)} "
        "unless it is needed again"
        for condemned in sets
    )
