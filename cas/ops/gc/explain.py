"""Why something is kept, or what will become of it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cas.config import Limits
from cas.errors import InputError, NotFoundError
from cas.formats.digest import PREFIX, named
from cas.formats.manifest import timestamp
from cas.ops.gc.collector import GRACE
from cas.ops.gc.live import Live, readable
from cas.refs.reflog import KEPT
from cas.store import condemned, layout
from cas.store.layout import VersionId
from cas.store.store import Store

_SHORTEST = 8


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known of one digest.

    kind: `version` or `chunk`. name: in full; of a version with its model. kept_by: refs, receipts and the like, each
    with the version that needs it. needed_by: versions that nothing keeps. condemned: when collectors condemned it,
    and when each lets it be deleted.
    """

    kind: str
    name: str
    kept_by: tuple[str, ...]
    needed_by: tuple[str, ...]
    condemned: tuple[str, ...]


def explain(
    store: Store, digest: str, *, grace: datetime.timedelta = GRACE, keep: int = KEPT, limits: Limits | None = None
) -> Explained:
    """What keeps the chunk or version `digest` (8 or more hex digits, with or without `blake3:`).

    Raises InputError when several begin so, NotFoundError when none does, and what `gc` raises.
    """
    prefix = digest.rpartition("@")[2].removeprefix(PREFIX)
    if not re.fullmatch(r"[0-9a-f]{8,64}", prefix):
        raise InputError(f"{digest!a}: give {_SHORTEST} or more lower-case hex digits of a chunk or a version")
    store.check_format()
    live = Live(store, grace=grace, keep=keep, limits=limits or Limits())
    live.find(datetime.datetime.now(datetime.UTC))
    versions = [version for version in live.manifests if version.digest.startswith(prefix)]
    folder = layout.chunk_folder(prefix)
    chunks = [name for entry in store.bucket.list(folder) if (name := entry.key.rpartition("/")[2]).startswith(prefix)]
    if len(versions) + len(chunks) > 1:
        raise InputError(f"{prefix} is ambiguous: give more digits")
    if versions:
        return _version(store, live, versions[0], grace)
    return _chunk(store, live, chunks[0] if chunks else prefix, there=bool(chunks), grace=grace)


def _version(store: Store, live: Live, version: VersionId, grace: datetime.timedelta) -> Explained:
    kept = tuple(root.why for root in live.roots if root.version == version)
    runs = [one for one in condemned.condemnations(store.bucket.list(layout.COLLECTIONS))
            if version in condemned.manifests_of(store, one)]  # fmt: skip
    return Explained("version", str(version), kept, (), _when(runs, grace))


def _chunk(store: Store, live: Live, digest: str, *, there: bool, grace: datetime.timedelta) -> Explained:
    needs = {version for version in live.manifests if any(one.startswith(digest) for one in readable(store, version))}
    kept = tuple(f"{root.why} ({root.version})" for root in live.roots if root.version in needs)
    if not there and not needs:
        raise NotFoundError(f"{store.url} has no chunk and no version {digest}…: see `cas ls`")
    runs = [one for one in condemned.condemnations(store.bucket.list(layout.COLLECTIONS))
            if any(each.hex().startswith(digest) for each in condemned.chunks_of(store, one))]  # fmt: skip
    name = named(digest) if there else f"{named(digest)}, which is missing"
    return Explained("chunk", name, kept, tuple(sorted(map(str, needs - live.versions))), _when(runs, grace))


def _when(runs: Iterable[condemned.Condemnation], grace: datetime.timedelta) -> tuple[str, ...]:
    return tuple(
        f"condemned at {timestamp(one.at)}, to be deleted after {timestamp(one.at + grace)} unless it is needed again"
        for one in runs
    )
