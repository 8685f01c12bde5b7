"""The tags and pins that name a version now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cas.refs import reflog
from cas.refs.reflog import Ref
from cas.store.layout import VersionId
from cas.store.store import Store


class Names(NamedTuple):
    """The tags and pins that name one version now.

    Attributes:
        tags: tags of the version's model.
        pins: deployments that have pinned the version.
    """

    tags: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The names as people read them: `latest, pin:eu-prod`; empty when there are none."""
        return ", ".join([*self.tags, *(f"pin:{deployment}" for deployment in self.pins)])

    def refs(self, model: str) -> list[Ref]:
        """Return the names as refs. model: that the version is of."""
        return [Ref("tags", model, tag) for tag in self.tags] + [Ref("pins", each, model) for each in self.pins]


@dataclass(frozen=True, slots=True)
class NamedVersions:
    """The versions that refs name now.

    Attributes:
        unreadable: refs whose last entry cannot be read or, where keys are trusted, does not count.
        problems: the reason for each of these: `unreadable`, or a word of `SignatureError.problem`.
        signers: the ids of the keys that signed the last entry of each other ref; where no keys are trusted, those that
            signatures beside it claim to be by.
    """

    _names: Mapping[VersionId, Names]
    unreadable: tuple[Ref, ...] = field(default=())
    problems: Mapping[Ref, str] = field(default_factory=dict)
    signers: Mapping[Ref, tuple[str, ...]] = field(default_factory=dict)

    def versions(self) -> list[VersionId]:
        """Return all versions that a tag or pin names."""
        return list(self._names)

    def of(self, model: str, digest: str) -> Names:
        """Return the names of one version. digest: 64 hex."""
        return self._names.get(VersionId(model, digest), Names())


def named_versions(store: Store, model: str | None = None) -> NamedVersions:
    """Return which versions all tags and pins name now.

    Args:
        store: where the refs are.
        model: only the refs of this model; None for all.

    Raises:
        Unsupported: the store is read over plain https, which cannot list.
    """
    found: dict[VersionId, Names] = {}
    problems: dict[Ref, str] = {}
    signers: dict[Ref, tuple[str, ...]] = {}
    current = {**reflog.in_force(store, "tags", model or ""), **reflog.in_force(store, "pins", model=model)}
    for ref, now in current.items():
        if now.digest is None:
            problems[ref] = now.problem
            continue
        signers[ref] = (now.key_id,) if now.key_id else now.signers
        version = VersionId(ref.model, now.digest)
        names = found.get(version, Names())
        found[version] = (
            names._replace(tags=(*names.tags, ref.second))
            if ref.kind == "tags"
            else names._replace(pins=(*names.pins, ref.first))
        )
    return NamedVersions(found, tuple(problems), problems, signers)
