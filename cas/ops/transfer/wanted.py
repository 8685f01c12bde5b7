"""What is to be copied: versions with their manifests, and the tags and pins that shall name them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cas import events, refs
from cas.errors import FormatError, InputError
from cas.formats.digest import parse
from cas.formats.manifest import check_name
from cas.refs.entry import RefEntry
from cas.refs.patterns import expanded
from cas.refs.reference import Reference, Resolved
from cas.refs.reflog import Ref
from cas.store.layout import RefEntryId, RefSignature, VersionId, manifest_key
from cas.store.manifests import WholeManifest, read_manifest, whole_manifest
from cas.store.store import Store

_LOOKS = 3  # at a tag that somebody moves between two requests


class EntryObjects(NamedTuple):
    """An entry of a ref beside which signatures lie.

    Attributes:
        entry: which entry.
        signatures: those that a listing shows; nothing says here that they are true.
    """

    entry: RefEntryId
    signatures: tuple[RefSignature, ...]


@dataclass(slots=True)
class Wanted:
    """A version to be copied.

    Attributes:
        version: which one.
        whole: its manifest.
        names: the tags and pins that shall name it, each with the source's entry that names it so there; None where
            the source has no such entry.
        signed: for those of the refs whose entry in the source is signed, where that lies.
    """

    version: VersionId
    whole: WholeManifest
    names: dict[Ref, RefEntry | None] = field(default_factory=dict)
    signed: dict[Ref, EntryObjects] = field(default_factory=dict)

    @property
    def originals(self) -> set[VersionId]:
        """The version that this variant was derived from; none for a version that is no variant."""
        derived = self.whole.manifest.derived
        return {VersionId(self.version.model, parse(derived.parent))} if derived else set()


class Naming(NamedTuple):
    """The rule by which versions are named where they are brought to.

    Attributes:
        keep: whether a version is named by the tag or pin by which the user named it; else only as below.
        tags: tags for every version.
        pins: deployments that pin every version.
    """

    keep: bool = True
    tags: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()

    def given(self, model: str) -> list[Ref]:
        """Return the refs of `tags` and `pins` for a version of a model."""
        found = [Ref("tags", model, tag) for tag in self.tags]
        return [*found, *(Ref("pins", deployment, model) for deployment in self.pins)]


def naming(tags: Sequence[str] = (), pins: Sequence[str] = (), *, keep: bool = True) -> Naming:
    """Return a rule of naming; raise InputError for what is no name, or for names beside `keep=False`."""
    if (tags or pins) and not keep:
        raise InputError("say either how to name the version, or that nothing shall name it")
    for tag in tags:
        check_name(tag, "tag")
    for deployment in pins:
        check_name(deployment, "deployment")
    return Naming(keep and not tags and not pins, tuple(dict.fromkeys(tags)), tuple(dict.fromkeys(pins)))


def wanted_versions(
    store: Store, references: Iterable[str], rule: Naming, listen: events.Listener = events.ignore
) -> list[Wanted]:
    """Return the versions that references name in a store now, each once, in their order.

    A pattern of tags (`f5*`, `f5*:v*`) or pins (`pin:eu-*`) stands for all that match it.

    Raises:
        InputError: a text is no reference, or two versions would get one name.
        CasError: what `cas.refs.resolve` raises.
    """
    found: dict[VersionId, Wanted] = {}
    references = tuple(references)
    if not references:
        raise InputError("name at least one version, as in model:tag")
    for text in expanded(store, references):
        resolved, entry, signed = _resolve(store, text, listen)
        reference = resolved.reference
        version = VersionId(resolved.manifest.model, resolved.digest)
        if version not in found:
            found[version] = Wanted(version, read_manifest(store, version, whole_manifest))
        names = _names(store, reference, version, entry, rule)
        found[version].names |= names
        found[version].signed |= {ref: place for ref, place in signed.items() if ref in names}
    check_names(found.values())
    return list(found.values())


def check_names(wanted: Iterable[Wanted]) -> None:
    """Raise InputError if two versions would get one name."""
    taken: dict[Ref, VersionId] = {}
    for one in wanted:
        for ref in one.names:
            if taken.setdefault(ref, one.version) != one.version:
                raise InputError(f"{ref} would name both {taken[ref]} and {one.version}: name one of them so")


def missing_originals(store: Store | None, originals: Iterable[VersionId]) -> tuple[str, ...]:
    """Return those of some versions that a store lacks; all of them where there is no store."""
    return tuple(
        str(version)
        for version in sorted(originals)
        if store is None or not store.bucket.exists(manifest_key(*version))
    )


def distinct_chunks(wanted: Iterable[Wanted]) -> Mapping[str, int]:
    """Return the plain size of every chunk of some versions, by digest (64 hex)."""
    found: dict[str, int] = {}
    for one in wanted:
        found |= one.whole.manifest.chunks()
    return found


def _resolve(
    store: Store, text: str, listen: events.Listener
) -> tuple[Resolved, RefEntry | None, dict[Ref, EntryObjects]]:
    """What a reference names, with the entry of its tag or pin that says so; None for a digest.

    The third is where that entry lies, by its ref, if it is signed.
    """
    entry = None
    for _ in range(_LOOKS):
        resolved = refs.resolve(store, text, listen=listen)
        reference = resolved.reference
        if reference.digest is not None:
            break
        log, last = refs.log_of(store, reference), None
        with contextlib.suppress(FormatError):
            last = log.last_move()
        entry = last.entry if last is not None else None
        if last is not None and entry is not None and entry.digest == resolved.digest:
            signatures = tuple(log.signatures(last.name))
            place = EntryObjects(RefEntryId(*log.ref, last.name), signatures)
            return resolved, entry, {log.ref: place} if signatures else {}
    return resolved, entry, {}


def _names(
    store: Store, reference: Reference, version: VersionId, entry: RefEntry | None, rule: Naming
) -> dict[Ref, RefEntry | None]:
    if reference.digest is None and rule.keep:
        return {refs.log_of(store, reference).ref: entry}
    return dict.fromkeys(rule.given(version.model), entry)
