"""What is in a store: its models and their versions."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cas import reflog
from cas.config import Limits
from cas.digest import named
from cas.errors import CasError, NotFoundError
from cas.manifest import check_name
from cas.parallel import for_each
from cas.store import Store


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model.

    digest: 64 hex, empty when a tag's entry cannot be read. size: plain bytes. files: how many.
    """

    model: str
    digest: str
    tags: tuple[str, ...]
    created: str
    size: int
    files: int

    def document(self) -> dict[str, object]:
        """As `cas ls --json` shows it."""
        return {**asdict(self), "digest": named(self.digest) if self.digest else None}


def versions(store: Store, model: str | None = None, limits: Limits | None = None) -> list[Version]:
    """Every tagged version of all models, or every version of one; by model, newest first.

    A version whose manifest cannot be read is listed with `created` saying so. Raises NotFoundError for an
    unknown model.
    """
    store.check_format()
    if model is not None:
        check_name(model, "model")
    tagged: dict[tuple[str, str], list[str]] = {}
    found: list[Version] = []
    for owner, current in reflog.tags(store, model).items():
        for tag, digest in current.items():
            if digest is None:
                found.append(Version(owner, "", (tag,), "unreadable: its last entry is malformed", 0, 0))
            else:
                tagged.setdefault((owner, digest), []).append(tag)
    if model is not None:
        for digest in store.versions(model):
            tagged.setdefault((model, digest), [])
        if not tagged and not found:
            known = ", ".join(store.models()[:8]) or "none"
            raise NotFoundError(f"model {model} is not in {store.url}; its models are: {known}")

    def read(item: tuple[tuple[str, str], list[str]]) -> None:
        (owner, digest), tags = item
        try:
            manifest = store.get_manifest(owner, digest)
        except CasError as error:
            found.append(Version(owner, digest, tuple(tags), f"unreadable: {type(error).__name__}", 0, 0))
            return
        files = sum(1 for _ in manifest.all_files())
        found.append(Version(owner, digest, tuple(tags), manifest.created, manifest.plain_size, files))

    for_each(read, tagged.items(), threads=(limits or Limits()).requests)
    newest_first = sorted(found, key=lambda version: (version.created, version.digest), reverse=True)
    return sorted(newest_first, key=lambda version: version.model)
