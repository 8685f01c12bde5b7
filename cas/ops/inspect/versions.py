"""What is in a store: its models, their versions, and which version came from which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cas.config import Limits
from cas.errors import FormatError, IntegrityError, NotFoundError
from cas.formats.digest import named, parse
from cas.formats.manifest import Manifest, check_name
from cas.parallel import for_each
from cas.refs.names import Names, named_versions
from cas.refs.reflog import Ref
from cas.store.layout import VersionId
from cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Origin:
    """What a variant was derived from (64 hex), and by which transform."""

    transform: str
    original: str

    def shown(self, digits: int) -> str:
        """As people read it: `float16 of 1f3a9c04…`."""
        return f"{self.transform.removeprefix('cast:')} of {self.original[:digits]}…"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model.

    digest: 64 hex, empty when a ref's entry cannot be read. created: says so where something cannot be read. size:
    plain bytes. files: how many. pins: the deployments whose pins name it. parent: what its tag named before, 64 hex.
    """

    model: str
    digest: str
    tags: tuple[str, ...]
    created: str
    size: int
    files: int
    pins: tuple[str, ...] = ()
    parent: str | None = None
    variant: Origin | None = None

    @property
    def readable(self) -> bool:
        """Whether its manifest could be read."""
        return not self.created.startswith(_UNREADABLE)

    @property
    def names(self) -> Names:
        """The tags and pins that name it."""
        return Names(self.tags, self.pins)

    def document(self) -> dict[str, object]:
        """As `cas ls --json` shows it."""
        variant = self.variant
        return {
            **asdict(self),
            "digest": named(self.digest) if self.digest else None,
            "parent": named(self.parent) if self.parent else None,
            "variant": {"transform": variant.transform, "from": named(variant.original)} if variant else None,
        }


@dataclass(frozen=True, slots=True)
class Line:
    """A version in its model's tree. depth: 0 for a root. parent: the version (64 hex) that it stands below.

    A version's children stand behind it. One of them goes on at the same depth: the newest one that is no variant, or
    the newest one of a variant. The others are branches, one deeper, and stand before it.
    """

    version: Version
    depth: int
    parent: str | None


_UNREADABLE = "unreadable"


def versions(
    store: Store, model: str | None = None, limits: Limits | None = None, *, every: bool = False
) -> list[Version]:
    """Every version of all models that a tag or pin names, or every version of one; by model, newest first.

    every: all versions of all models. A version whose manifest cannot be read is listed with `created` saying so.
    Raises NotFoundError for an unknown model.
    """
    store.check_format()
    if model is not None:
        check_name(model, "model")
    names = named_versions(store, model)
    found = [_unreadable_ref(ref) for ref in names.unreadable]
    wanted = dict.fromkeys(names.versions())
    for owner in [model] if model is not None else store.models() if every else []:
        wanted |= dict.fromkeys(VersionId(owner, digest) for digest in store.versions(owner))
    if model is not None and not wanted and not found:
        known = ", ".join(store.models()[:8]) or "none"
        raise NotFoundError(f"model {model} is not in {store.url}; its models are: {known}")

    def read(item: VersionId) -> None:
        owner, digest = item
        tags, pins = names.of(owner, digest)
        try:
            manifest = store.get_manifest(owner, digest)
        except (IntegrityError, FormatError, NotFoundError) as error:
            found.append(Version(owner, digest, tags, f"{_UNREADABLE}: {type(error).__name__}", 0, 0, pins))
            return
        found.append(_version(digest, manifest, Names(tags, pins)))

    for_each(read, wanted, threads=(limits or Limits()).requests)
    newest_first = sorted(found, key=lambda version: (version.created, version.digest), reverse=True)
    return sorted(newest_first, key=lambda version: version.model)


def lineage(listed: Sequence[Version]) -> list[Line]:
    """The versions of one model as a tree, parents before their children, the newest last.

    A version whose parent is not listed stands below the original that it was derived from, or is a root.
    """
    oldest_first = sorted(listed, key=lambda version: (version.readable, version.created, version.digest))
    known = {version.digest for version in oldest_first if version.digest}
    children: dict[str | None, list[Version]] = {}
    for version in oldest_first:
        above = [version.parent, version.variant.original if version.variant else None]
        parent = next((digest for digest in above if digest in known and digest != version.digest), None)
        children.setdefault(parent, []).append(version)
    lines: list[Line] = []
    waiting: list[Line] = [Line(root, 0, None) for root in reversed(children.get(None, []))]
    # Not by recursion: a tag that moves every day makes a line of hundreds.
    while waiting:
        line = waiting.pop()
        lines.append(line)
        below = children.get(line.version.digest, []) if line.version.digest else []
        if not below:
            continue
        heir = _heir(line.version, below)
        waiting += [
            *([Line(heir, line.depth, line.version.digest)] if heir else []),
            *(Line(child, line.depth + 1, line.version.digest) for child in reversed(below) if child is not heir),
        ]
    return lines


def _heir(parent: Version, children: Sequence[Version]) -> Version | None:
    """The child that goes on where its parent stands."""
    alike = [child for child in children if parent.variant or not child.variant]
    return alike[-1] if alike else None


def _version(digest: str, manifest: Manifest, names: Names) -> Version:
    derived = manifest.derived
    return Version(
        manifest.model,
        digest,
        names.tags,
        manifest.created,
        manifest.plain_size,
        sum(1 for _ in manifest.all_files()),
        names.pins,
        parse(manifest.parent) if manifest.parent else None,
        Origin(derived.transform, parse(derived.parent)) if derived else None,
    )


def _unreadable_ref(ref: Ref) -> Version:
    tags, pins = ((ref.second,), ()) if ref.kind == "tags" else ((), (ref.first,))
    return Version(ref.model, "", tags, f"{_UNREADABLE}: its last entry is malformed", 0, 0, pins)
