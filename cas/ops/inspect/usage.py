"""What versions take up in a store, what they share, and what nothing needs."""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass

from cas import config, events
from cas.bucket import Entry
from cas.errors import FormatError, IntegrityError, NotFoundError
from cas.formats.manifest import Manifest, check_name
from cas.parallel import for_each
from cas.refs.names import Names, named_versions
from cas.store.lookup import list_chunks
from cas.store.store import Store, open_store

# Manifests are held while they are counted: 16 MiB of JSON at most, and several times that as objects.
_MANIFESTS = 4

_NOBODY, _SEVERAL = -1, -2


@dataclass(slots=True)
class VersionUsage:
    """What one version takes up, in bytes.

    plain: of its files. stored: of its chunks in the store. shared: of those that other versions have, too. freed: of
    those that only it has. missing: chunks that the store does not hold. created: says so when it cannot be read.
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
    """What a store holds, in bytes.

    versions: those asked for; by model, newest first. count: all versions that can be read. plain: of all files of
    these. distinct: of their distinct chunks. stored: of these in the store. chunks: how many. missing: chunks that
    versions need and the store does not hold. unneeded_chunks, unneeded: those that no version needs, and their bytes.
    unreadable: versions that cannot be read; what they need counts as unneeded.
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

    @property
    def ratio(self) -> float | None:
        """Plain bytes of all versions for each that their chunks take in the store; None for an empty one."""
        return self.plain / self.stored if self.stored else None


def usage(
    store: Store | str | None = None,
    model: str | None = None,
    *,
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Usage:
    """Counts the whole store, and shows every version of `model`, or all.

    A publish under way has chunks in the store before it has a version: they count as unneeded. Raises NotFoundError
    for an unknown model, Unsupported over plain https.
    """
    held = open_store(store)
    limits = limits or config.Limits()
    held.check_format()
    if model is not None:
        check_name(model, "model")
    names = named_versions(held)
    models = held.models()
    if model is not None and model not in models:
        raise NotFoundError(f"model {model} is not in {held.url}; its models are: {', '.join(models[:8]) or 'none'}")
    found = [
        VersionUsage(owner, digest, names.of(owner, digest)) for owner in models for digest in held.versions(owner)
    ]
    on_event(events.Phase("count"))
    # After the versions were listed: whatever they name was there before them.
    count = _Count()
    list_chunks(held, count.hold, limits)
    gone: set[int] = set()

    def read(number: int) -> None:
        version = found[number]
        try:
            manifest = held.get_manifest(version.model, version.digest)
        except NotFoundError:
            gone.add(number)  # collected meanwhile
        except (IntegrityError, FormatError) as error:
            version.readable, version.created = False, f"unreadable: {type(error).__name__}"
        else:
            count.add(number, version, manifest)

    for_each(read, range(len(found)), threads=min(limits.requests, _MANIFESTS))
    count.settle(found)
    kept = [version for number, version in enumerate(found) if number not in gone]
    shown = [version for version in kept if model in (None, version.model)]
    shown.sort(key=lambda version: (version.created, version.digest), reverse=True)
    return count.total(kept, sorted(shown, key=lambda version: version.model))


class _Count:
    """Every chunk of the store and who needs it: 32 bytes of name, 16 of figures, and what a dict takes."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._sizes, self._owners = array("q"), array("q")
        self._missing: set[bytes] = set()
        self._distinct = 0
        self._counting = threading.Lock()

    def hold(self, digest: str, entry: Entry) -> None:
        """Count a chunk (64 hex) that the store holds; all are counted before the first version is added."""
        self._places[bytes.fromhex(digest)] = len(self._sizes)
        self._sizes.append(entry.size)
        self._owners.append(_NOBODY)

    def add(self, number: int, version: VersionUsage, manifest: Manifest) -> None:
        """Counts a version's chunks."""
        version.created, version.plain = manifest.created, manifest.plain_size
        with self._counting:
            for digest, size in manifest.chunks().items():
                name = bytes.fromhex(digest)
                place = self._places.get(name)
                if place is None:
                    version.missing += 1
                    if name not in self._missing:
                        self._missing.add(name)
                        self._distinct += size
                    continue
                version.stored += self._sizes[place]
                if self._owners[place] == _NOBODY:
                    self._owners[place] = number
                    self._distinct += size
                else:
                    self._owners[place] = _SEVERAL

    def settle(self, versions: list[VersionUsage]) -> None:
        """Tells each version what only it has."""
        for owner, size in zip(self._owners, self._sizes, strict=True):
            if owner >= 0:
                versions[owner].freed += size
        for version in versions:
            version.shared = version.stored - version.freed

    def total(self, versions: list[VersionUsage], shown: list[VersionUsage]) -> Usage:
        """The whole store."""
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
        )
