"""Counts what versions take up in a store, what they share, and how many bytes are unreferenced.

The order of `usage`:

1. list all versions, and what refs name them;
2. list all chunks with their sizes. This comes after the versions were listed: a publish writes chunks before its
   manifest, so every chunk that a listed version names was there before;
3. read the manifests, four at a time, and record for each chunk who needs it: no version, one version, or several;
4. tell each version how much only it needs (which `cas gc` would free without it), and how much it shares;
5. count what the bucket still keeps of objects that were overwritten or deleted;
6. sum up the whole store, and show the versions of the model that was asked for.
"""

from __future__ import annotations

import datetime
import threading
from array import array
from collections import Counter
from dataclasses import dataclass, field, replace

from cas import events, host
from cas.bucket import Entry
from cas.errors import AccessDenied, FormatError, IntegrityError, NotFoundError
from cas.formats.manifest import Manifest, Manifest1, timestamp
from cas.parallel import for_each
from cas.refs.names import Names, named_versions
from cas.refs.patterns import asked, asked_otherwise
from cas.store.layout import FORMAT_KEY, VersionId
from cas.store.lookup import list_chunks
from cas.store.store import Store, open_store
from cas.store.superseded import list_superseded

# How many manifests are in memory at a time. Each is at most 16 MiB of JSON, and several times that as objects.
_MANIFESTS = 4

# Who needs a chunk, when that is not the number of one version.
_NOBODY, _SEVERAL = -1, -2


@dataclass(slots=True)
class VersionUsage:
    """What one version takes up.

    Attributes:
        model: the version's model.
        digest: the version, 64 hex.
        names: the tags and pins that name the version now.
        created: when the version was made or, if its manifest does not tell, when the store got that; or
            `unreadable: …`.
        readable: whether its manifest could be read.
        plain: plain bytes of its files.
        stored: bytes of its chunks in the store.
        shared: bytes in the store of those of its chunks that other versions need, too.
        freed: bytes in the store of the chunks that only this version needs.
        missing: how many of its chunks the store does not hold.
    """

    model: str
    digest: str
    names: Names
    created: str = ""
    readable: bool = True
    plain: int = 0
    stored: int = 0
    shared: int = 0
    freed: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a store holds.

    Attributes:
        versions: the versions that were asked for, ordered by model, the newest first.
        count: how many versions can be read.
        plain: plain bytes of all files of these versions.
        distinct: plain bytes of their distinct chunks.
        stored: bytes of these chunks in the store.
        chunks: how many these chunks are.
        missing: how many chunks versions need that the store does not hold.
        unneeded_chunks: how many chunks of the store no version needs.
        unneeded: their bytes in the store.
        unreadable: how many versions cannot be read; chunks that only they need count as unneeded.
        superseded_versions: stored versions of overwritten and deleted objects, which a bucket that keeps versions
            still has; None where this key may not list them.
        superseded: their bytes; None likewise.
        written: bytes of all chunks of the store by the day (yyyy-mm-dd, UTC) on which they were written.
    """

    versions: tuple[VersionUsage, ...]
    count: int
    plain: int
    distinct: int
    stored: int
    chunks: int
    missing: int
    unneeded_chunks: int
    unneeded: int
    unreadable: int
    superseded_versions: int | None = 0
    superseded: int | None = 0
    written: dict[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Plain bytes of all versions for each byte that their chunks take in the store; None for an empty store."""
        return self.plain / self.stored if self.stored else None


def usage(
    store: Store | str | None = None,
    model: str | None = None,
    *,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Usage:
    """Count the whole store, and return the figures of the versions of one model, or of all.

    A publish that is under way has chunks in the store before it has a version: these chunks count as unneeded.

    Args:
        store: an open store, its URL, or None for the default.
        model: the model, or what a pattern or a reference asks for (`cas/refs/patterns.py`); None for all.
        limits: how many requests are made at a time.
        on_event: is told of phases.

    Raises:
        NotFoundError: nothing in the store is so named.
        Unsupported: the store is read over plain https, which cannot list.
    """
    store = open_store(store)
    limits = limits or host.Limits()
    store.check_format()
    chosen = None if model is None else asked(store, model, on_event)
    names = named_versions(store)
    listed = store.list_manifests()
    if model is not None and chosen is not None and not any(map(chosen.has, listed)):
        chosen = asked_otherwise(store, model, on_event)
    ordered = sorted(listed.items(), key=lambda item: (item[0].model, item[1].modified, item[0].digest))
    found = [VersionUsage(*version, names.of(*version), timestamp(entry.modified)) for version, entry in ordered]
    on_event(events.Phase("count"))
    count = _ChunkCount()
    list_chunks(store, count.add_chunk, limits)
    gone: set[int] = set()

    def read(number: int) -> None:
        version = found[number]
        try:
            manifest = store.get_manifest(version.model, version.digest)
        except NotFoundError:
            gone.add(number)  # a collector swept it meanwhile
        except (IntegrityError, FormatError) as error:
            version.readable, version.created = False, f"unreadable: {type(error).__name__}"
        else:
            count.add_version(number, version, manifest)

    for_each(read, range(len(found)), threads=min(limits.requests, _MANIFESTS))
    count.settle(found)
    remaining = [version for number, version in enumerate(found) if number not in gone]
    shown = [version for version in remaining if chosen is None or chosen.has(VersionId(version.model, version.digest))]
    shown.sort(key=lambda version: (version.created, version.digest), reverse=True)
    total = count.total(remaining, sorted(shown, key=lambda version: version.model))
    versions, size = _superseded(store, total.chunks + total.unneeded_chunks, limits)
    return replace(total, superseded_versions=versions, superseded=size)


def _superseded(store: Store, chunks: int, limits: host.Limits) -> tuple[int, int] | tuple[None, None]:
    """How many superseded versions the bucket keeps, and their bytes; None for both where this key may not list them.

    Args:
        store: to look at.
        chunks: how many chunks it has.
        limits: how many requests are made at a time.
    """
    sizes = array("q")
    try:
        if store.bucket.keeps_versions(FORMAT_KEY):
            list_superseded(store, lambda found: sizes.extend(one.size for one in found), chunks=chunks, limits=limits)
    except AccessDenied:
        return None, None
    return len(sizes), sum(sizes)


class _ChunkCount:
    """Every chunk of the store, and who needs it.

    A chunk takes 32 bytes for its name, 16 for its figures, and what an entry of a dict takes.
    """

    def __init__(self) -> None:
        self._indexes: dict[bytes, int] = {}
        self._sizes, self._owners = array("q"), array("q")
        self._missing: set[bytes] = set()
        self._written: Counter[str] = Counter()
        self._distinct = 0
        self._counting = threading.Lock()

    def add_chunk(self, digest: str, entry: Entry) -> None:
        """Record a chunk that the store holds. All chunks must be recorded before the first version is added.

        Args:
            digest: the chunk, 64 hex.
            entry: its frame in the bucket.
        """
        self._indexes[bytes.fromhex(digest)] = len(self._sizes)
        self._sizes.append(entry.size)
        self._owners.append(_NOBODY)
        self._written[entry.modified.astimezone(datetime.UTC).date().isoformat()] += entry.size

    def add_version(self, number: int, version: VersionUsage, manifest: Manifest) -> None:
        """Count the chunks that a version needs.

        Args:
            number: which version it is among all.
            version: its figures, which this method fills in.
            manifest: its manifest.
        """
        version.created = manifest.created if isinstance(manifest, Manifest1) else version.created
        version.plain = manifest.plain_size
        with self._counting:
            for digest, size in manifest.chunks().items():
                name = bytes.fromhex(digest)
                index = self._indexes.get(name)
                if index is None:
                    version.missing += 1
                    if name not in self._missing:
                        self._missing.add(name)
                        self._distinct += size
                    continue
                version.stored += self._sizes[index]
                if self._owners[index] == _NOBODY:
                    self._owners[index] = number
                    self._distinct += size
                else:
                    self._owners[index] = _SEVERAL

    def settle(self, versions: list[VersionUsage]) -> None:
        """Fill in how much only each version needs, and how much it shares."""
        for owner, size in zip(self._owners, self._sizes, strict=True):
            if owner >= 0:
                versions[owner].freed += size
        for version in versions:
            version.shared = version.stored - version.freed

    def total(self, versions: list[VersionUsage], shown: list[VersionUsage]) -> Usage:
        """Return the figures of the whole store. versions: all versions; shown: those that were asked for."""
        unneeded = [size for owner, size in zip(self._owners, self._sizes, strict=True) if owner == _NOBODY]
        readable = [version for version in versions if version.readable]
        return Usage(
            versions=tuple(shown),
            count=len(readable),
            plain=sum(version.plain for version in readable),
            distinct=self._distinct,
            stored=sum(self._sizes) - sum(unneeded),
            chunks=len(self._sizes) - len(unneeded),
            missing=len(self._missing),
            unneeded_chunks=len(unneeded),
            unneeded=sum(unneeded),
            unreadable=len(versions) - len(readable),
            written=dict(self._written),
        )
