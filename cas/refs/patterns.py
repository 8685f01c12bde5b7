"""What is asked of a list: a model, a pattern of names, or anything else that names a version.

f5-tts            every version of the model
f5*               every version of each model that matches
f5*:v*            the versions that matching tags of matching models name now
pin:eu-*/f5*      the versions that matching pins name now; pin:eu-* for all pins of these deployments
any other text    the version that it means as a reference
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cas import events
from cas.errors import NotFoundError
from cas.formats.manifest import check_name
from cas.refs import reflog
from cas.refs.grammar import trimmed
from cas.refs.likely import unknown_model
from cas.refs.meaning import other_meaning
from cas.refs.other_words import is_pattern
from cas.refs.reference import resolve
from cas.refs.reflog import Ref
from cas.store.layout import VersionId
from cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Asked:
    """The versions that a list is asked for.

    Attributes:
        models: those whose versions they are.
        versions: the versions; None for every version of the models.
    """

    models: frozenset[str]
    versions: frozenset[VersionId] | None = None

    @property
    def model(self) -> str | None:
        """The only model; None where there are several."""
        return next(iter(self.models)) if len(self.models) == 1 else None

    def has(self, version: VersionId) -> bool:
        """Return whether a version is one of them."""
        return version.model in self.models and (self.versions is None or version in self.versions)

    def has_ref(self, ref: Ref) -> bool:
        """Return whether a list shows a ref of which it is not known what it names: all of its model is asked for."""
        return ref.model in self.models and self.versions is None


def asked(store: Store, text: str, listen: events.Listener = events.ignore) -> Asked:
    """Return the versions that a list is asked for. Of a plain name nothing is read: it is taken for a model's.

    Raises:
        InputError: the text is no reference, or several things fit it.
        NotFoundError: nothing matches the pattern, or there is nothing of that name.
        CasError: what `resolve` raises.
    """
    text = trimmed(text)
    if is_pattern(text):
        return _matching(store, text)
    if not set(text) & set(":@/"):
        return Asked(frozenset([check_name(text, "model")]))
    found = resolve(store, text, listen=listen)
    version = VersionId(found.manifest.model, found.digest)
    return Asked(frozenset([version.model]), frozenset([version]))


def asked_otherwise(store: Store, text: str, listen: events.Listener = events.ignore) -> Asked:
    """Return what a word means for a list that is no model's name; raise NotFoundError where it means nothing."""
    text = trimmed(text)
    if (meant := other_meaning(store, text, listen)) is None:
        raise NotFoundError(f"model {text} is not in {store.url}: {unknown_model(store, text)}")
    if meant.digest is None:  # a model in other letters
        return Asked(frozenset([meant.model]))
    return Asked(frozenset([meant.model]), frozenset([VersionId(meant.model, meant.digest)]))


def matching_refs(store: Store, text: str) -> dict[Ref, str | None]:
    """Return the tags, or the pins, that match a pattern, with the version (64 hex) that each names now.

    That is None where the last entry cannot be read or, where keys are trusted, does not count.

    Args:
        store: where the refs are.
        text: a pattern of models, which means all their tags; of tags, as in `f5*:v*`; or of pins, as in `pin:eu-*/m`.

    Raises:
        NotFoundError: none matches.
    """
    if text.startswith("pin:"):
        first, _, second = text.removeprefix("pin:").partition("/")
        named = reflog.current(store, "pins")
    else:
        first, _, second = text.partition(":")
        named = reflog.current(store, "tags")
    found = {
        ref: digest
        for ref, digest in named.items()
        if fnmatchcase(ref.first, first) and fnmatchcase(ref.second, second or "*")
    }
    if not found:
        store.check_format()
        kind = "pin" if text.startswith("pin:") else "tag"
        raise NotFoundError(f"no {kind} in {store.url} matches {text!r}: see `cas {'pins' if kind == 'pin' else 'ls'}`")
    return found


def expanded(store: Store, texts: Iterable[str]) -> list[str]:
    """Return references in which each pattern is replaced by the tags, or the pins, that match it."""
    found: list[str] = []
    for text in texts:
        found += map(str, matching_refs(store, text)) if is_pattern(text) else [text]
    return found


def model_matches(model: str, pattern: str) -> bool:
    """Return whether a model is one that `cas mirror` is asked for: by a pattern, or the beginning of its name."""
    return fnmatchcase(model, pattern) if is_pattern(pattern) else model.startswith(pattern)


def _matching(store: Store, text: str) -> Asked:
    if ":" not in text:
        found = frozenset(model for model in store.models() if fnmatchcase(model, text))
        if not found:
            store.check_format()
            raise NotFoundError(f"no model in {store.url} matches {text!r}: see `cas ls`")
        return Asked(found)
    versions = frozenset(VersionId(ref.model, digest) for ref, digest in matching_refs(store, text).items() if digest)
    return Asked(frozenset(version.model for version in versions), versions)
