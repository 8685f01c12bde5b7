"""Lists what is in a store: its models, their versions, and which version came from which.

The order of `versions`:

1. read what all tags and pins name now: a version that `cas ls` shows is named, or is of the model that is asked for;
2. list the manifests of these models, or of every model when all versions are wanted;
3. take what this machine remembers of a manifest that was not written anew since, and read the outline of each other,
   several at a time; one that cannot be read is listed as unreadable and stops nothing;
4. remember the outlines that were read, and sort by model, newest version first.

`with_lineage` reads the logs of the tags besides, which tell what a manifest of version 2 does not: by whom and after
what a version was made. It makes one request for each move of a tag, so the list does without. `cas.ops.inspect.tree`
makes a tree of what it returns.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from cas import events
from cas.bucket import Entry
from cas.errors import FormatError, IntegrityError, NotFoundError
from cas.formats.digest import named, parse, short
from cas.formats.manifest import timestamp
from cas.formats.outline import Outline, outline
from cas.host import Limits
from cas.local.outlines import Outlines, Stamp
from cas.ops.inspect.signatures import Signature, signature_of
from cas.parallel import for_each
from cas.refs.names import NamedVersions, Names, named_versions
from cas.refs.patterns import Asked, asked, asked_otherwise
from cas.refs.reflog import Ref
from cas.store.layout import VersionId
from cas.store.manifests import read_manifest
from cas.store.store import Store


@dataclass(frozen=True, slots=True)
class VariantOrigin:
    """Where a variant comes from.

    Attributes:
        transform: what was done to the original, such as `cast:float16`.
        original: the version that the variant was derived from, 64 hex.
    """

    transform: str
    original: str

    @property
    def shown(self) -> str:
        """The origin as people read it, with the whole digest: `float16 of 1f3a9c04…`."""
        return f"{self.transform.removeprefix('cast:')} of {self.original}"


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """One line of `cas ls`: a version of a model, or a ref whose last entry cannot be read.

    Attributes:
        model: the version's model.
        digest: the version, 64 hex; empty when the ref's entry cannot be read.
        tags: tags that name the version now.
        created: when the version was made, or `unreadable: …` for what cannot be read, and `refused: …` for a ref
            whose last entry does not count where keys are trusted. In a list, that is when the store got the manifest,
            by the server's clock, if that is of version 2.
        size: plain bytes of all files.
        files: how many files the version has.
        pins: deployments whose pins name the version now.
        parent: the version that the tag named before, 64 hex; None for none, and in a list.
        variant: where the version comes from if it is a variant.
        by: who made the version; empty if that is not known, and in a list.
        stored: when the store got the manifest; None if the manifest tells itself when the version was made.
        signatures: who signed the refs that name the version.
    """

    model: str
    digest: str
    tags: tuple[str, ...]
    created: str
    size: int
    files: int
    pins: tuple[str, ...] = ()
    parent: str | None = None
    variant: VariantOrigin | None = None
    by: str = ""
    stored: datetime.datetime | None = None
    signatures: tuple[Signature, ...] = ()

    def __repr__(self) -> str:
        named = f": {self.names.shown}" if self.names.shown else ""
        return f"<Version {self.model}@{short(self.digest) or '?'}{named}, {self.size:,} bytes>"

    @property
    def readable(self) -> bool:
        """Whether the manifest, or the ref's entry, could be read, and counts."""
        return not self.created.startswith((_UNREADABLE, _REFUSED))

    @property
    def names(self) -> Names:
        """The tags and pins that name the version now."""
        return Names(self.tags, self.pins)

    def document(self) -> dict[str, object]:
        """Return the version as `cas ls --json` shows it."""
        variant = self.variant
        return {
            "model": self.model,
            "digest": named(self.digest) if self.digest else None,
            "tags": self.tags,
            "created": self.created,
            "size": self.size,
            "files": self.files,
            "pins": self.pins,
            "variant": {"transform": variant.transform, "from": named(variant.original)} if variant else None,
            "signatures": [signature.document() for signature in self.signatures],
        }


_UNREADABLE, _REFUSED = "unreadable", "refused"


def versions(
    store: Store,
    model: str | None = None,
    limits: Limits | None = None,
    *,
    every: bool = False,
    whole: bool = False,
    listen: events.Listener = events.ignore,
) -> list[ListedVersion]:
    """Return versions in a store, ordered by model, the newest first.

    A version whose manifest cannot be read is listed, too; its `created` says so.

    Args:
        store: the store.
        model: return all versions of this model; or what a pattern or a reference asks for (`cas/refs/patterns.py`).
            None returns those versions of all models that a tag or pin names.
        limits: how many requests are made at a time.
        every: return all versions of all models.
        whole: return every version of the models of which some are asked for.
        listen: is told what a text was taken for.

    Raises:
        InputError: several things fit the text.
        NotFoundError: nothing in the store does.
    """
    store.check_format()
    if model is None:
        return _versions(store, None, limits, every=every)
    found = _versions(store, _widened(asked(store, model, listen), whole=whole), limits)
    return found or _versions(store, _widened(asked_otherwise(store, model, listen), whole=whole), limits)


def _widened(given: Asked, *, whole: bool) -> Asked:
    return Asked(given.models) if whole else given


def _versions(store: Store, chosen: Asked | None, limits: Limits | None, *, every: bool = False) -> list[ListedVersion]:
    model = chosen.model if chosen else None
    names = named_versions(store, model)
    found = [_unreadable_ref(store, ref, names) for ref in names.unreadable if chosen is None or chosen.has_ref(ref)]
    wanted = dict.fromkeys(names.versions())
    limits = limits or Limits()
    models = chosen.models if chosen else None if every else {version.model for version in wanted}
    listed = _manifests(store, models, limits)
    if chosen or every:
        wanted |= dict.fromkeys(listed)
    if chosen:
        wanted = dict.fromkeys(filter(chosen.has, wanted))
    remembered, fetched = Outlines(store.url), list[VersionId]()
    began = datetime.datetime.now(datetime.UTC)

    def read(version: VersionId) -> None:
        tags, pins = names.of(*version)
        signatures = tuple(signature_of(store, ref, names) for ref in Names(tags, pins).refs(version.model))
        entry = listed.get(version)  # None for a version that is newer than the listing
        stamp = _stamp(entry) if entry else ""
        shown = remembered.get(version.digest, stamp)
        if shown is None or shown.model != version.model:
            try:
                shown = read_manifest(store, version, outline)
            except (IntegrityError, FormatError, NotFoundError) as error:
                why = f"{_UNREADABLE}: {type(error).__name__}"
                found.append(ListedVersion(*version, tags, why, 0, 0, pins, signatures=signatures))
                return
            if stamp:
                remembered.add(version.digest, stamp, shown)
                fetched.append(version)
        listed_ = _version(version.digest, shown, Names(tags, pins), entry.modified if entry else began)
        found.append(replace(listed_, signatures=signatures))

    for_each(read, wanted, threads=limits.requests)
    remembered.save(sum(listed[version].size for version in fetched))
    newest_first = sorted(found, key=lambda version: (version.created, version.digest), reverse=True)
    return sorted(newest_first, key=lambda version: version.model)


def with_lineage(store: Store, listed: Sequence[ListedVersion]) -> list[ListedVersion]:
    """Return listed versions with their authors and parents, and the times at which tags first named them.

    What a manifest of version 1 says stays. The logs of models that have no others are not read.
    """
    from cas.refs.lineage import first_moves

    stored = {VersionId(version.model, version.digest): version.stored for version in listed if version.stored}
    moves = first_moves(store, {version.model for version in stored}, stored.get)

    def told(version: ListedVersion) -> ListedVersion:
        move = moves.get(VersionId(version.model, version.digest)) if version.stored else None
        return replace(version, created=move.created, by=move.by, parent=move.parent) if move else version

    return [told(version) for version in listed]


def _manifests(store: Store, models: Collection[str] | None, limits: Limits) -> dict[VersionId, Entry]:
    """Return the listed manifests of some models, or of all."""
    found: dict[VersionId, Entry] = {}
    if models is None:
        found = store.list_manifests()
    elif models:
        for_each(
            lambda owner: found.update(store.list_manifests(owner)), models, threads=min(limits.requests, len(models))
        )
    return found


def _stamp(entry: Entry) -> Stamp:
    return f"{entry.size} {entry.tag or entry.modified.isoformat()}"


def _version(digest: str, shown: Outline, names: Names, stored: datetime.datetime) -> ListedVersion:
    origin = None
    if shown.transform is not None and shown.original is not None:
        origin = VariantOrigin(shown.transform, parse(shown.original))
    parent = parse(shown.parent) if shown.parent else None
    return ListedVersion(
        model=shown.model,
        digest=digest,
        tags=names.tags,
        created=shown.created or timestamp(stored),
        size=shown.size,
        files=shown.files,
        pins=names.pins,
        parent=parent,
        variant=origin,
        stored=None if shown.created else stored,
    )


def _unreadable_ref(store: Store, ref: Ref, names: NamedVersions) -> ListedVersion:
    tags, pins = ((ref.second,), ()) if ref.kind == "tags" else ((), (ref.first,))
    signature = signature_of(store, ref, names)
    is_malformed = signature.problem in ("", _UNREADABLE)
    why = f"{_UNREADABLE}: its last entry is malformed" if is_malformed else f"{_REFUSED}: {signature.problem}"
    return ListedVersion(ref.model, "", tags, why, 0, 0, pins, signatures=(signature,))
