"""Which tags and pins name a version now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cas.refs import reflog
from cas.refs.reflog import Ref
from cas.store.layout import VersionId
from cas.store.store import Store


class Names(NamedTuple):
    """What names one version now. pins: deployments."""

    tags: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """As people read them: `latest, pin:eu-prod`; empty when there are none."""
        return ", ".join([*self.tags, *(f"pin:{deployment}" for deployment in self.pins)])


@dataclass(frozen=True, slots=True)
class Named:
    """The versions that refs name. unreadable: refs whose last entry cannot be read."""

    _names: Mapping[VersionId, Names]
    unreadable: tuple[Ref, ...] = field(default=())

    def versions(self) -> list[VersionId]:
        """Each of them."""
        return list(self._names)

    def of(self, model: str, digest: str) -> Names:
        """The names of one version."""
        return self._names.get(VersionId(model, digest), Names())


def named(store: Store, model: str | None = None) -> Named:
    """What every tag and pin names now; model: those of one model only. Raises Unsupported over plain https."""
    found: dict[VersionId, Names] = {}
    unreadable = []
    current = {**reflog.current(store, "tags", model or ""), **reflog.current(store, "pins")}
    for ref, digest in current.items():
        if model not in (None, ref.model):
            continue
        if digest is None:
            unreadable.append(ref)
            continue
        version = VersionId(ref.model, digest)
        names = found.get(version, Names())
        found[version] = (
            names._replace(tags=(*names.tags, ref.second))
            if ref.kind == "tags"
            else names._replace(pins=(*names.pins, ref.first))
        )
    return Named(found, tuple(unreadable))
