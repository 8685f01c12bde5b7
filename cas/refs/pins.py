"""The pins of deployments: which version of a model each of them restores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from cas.errors import FormatError, InputError, NotFoundError, SignatureError
from cas.formats.digest import named, short
from cas.formats.manifest import check_name, timestamp
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.grammar import trimmed
from cas.refs.likely import shown, unknown_deployment
from cas.refs.other_words import is_pattern
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store

_REQUESTS = 16


@dataclass(frozen=True, slots=True)
class Pin:
    """One model that a deployment has pinned.

    Attributes:
        deployment: whose pin it is.
        model: the pinned model.
        digest: the pinned version, 64 hex; empty when the pin's last entry cannot be read, or does not count.
        tags: tags of the model that name the same version.
        since: when it was pinned, by the server's clock.
        by: who pinned it.
        reason: why.
    """

    deployment: str
    model: str
    digest: str
    tags: tuple[str, ...]
    since: str
    by: str
    reason: str

    def __repr__(self) -> str:
        return f"<Pin {self.ref} -> {short(self.digest) or self.reason}>"

    @property
    def ref(self) -> Ref:
        """The pin as a ref."""
        return Ref("pins", self.deployment, self.model)

    def document(self) -> dict[str, object]:
        """Return the pin as `cas pins --json` shows it."""
        return {**asdict(self), "digest": named(self.digest) if self.digest else None}


def pins(store: Store, deployment: str | None = None) -> list[Pin]:
    """Return the pins of all deployments, ordered by deployment and model.

    Args:
        store: where the pins are.
        deployment: only the pins of this deployment, also written `pin:deployment` or `pin:deployment/model`; or of
            those that a pattern matches (`eu-*`, `eu-*/m`). None for all.

    Raises:
        InputError: it is no name and no pattern.
        NotFoundError: there is no such pin.
    """
    store.check_format()
    owner, only = ("*", "*") if deployment is None else _asked(deployment)
    found: dict[Ref, Pin] = {}
    tags = reflog.tags(store)

    def read(log: RefLog) -> None:
        _, owner, model = log.ref
        listed = log.listed()
        since = timestamp(listed[-1].modified)
        try:
            entry = log.current()
        except FormatError:
            found[log.ref] = Pin(owner, model, "", (), since, "", "unreadable: its last entry is malformed")
            return
        except SignatureError as error:
            why = f"{error.problem}: its last entry does not count here"
            found[log.ref] = Pin(owner, model, "", (), since, "", why)
            return
        if entry is not None and entry.digest is not None:
            same = tuple(tag for tag, digest in tags.get(model, {}).items() if digest == entry.digest)
            found[log.ref] = Pin(owner, model, entry.digest, same, since, entry.by, entry.reason)

    listed = reflog.logs(store, "pins", "" if is_pattern(owner) else owner)
    if logs := [log for log in listed if fnmatchcase(log.ref.first, owner) and fnmatchcase(log.ref.second, only)]:
        for_each(read, logs, threads=min(_REQUESTS, len(logs)))
    if deployment is not None and not found:
        raise _unknown(store, deployment)
    return [pin for _, pin in sorted(found.items())]


def pin_words(text: str) -> tuple[str, str | None]:
    """Return the deployment, and the model if it is named, of `deployment`, `pin:deployment` or either with `/model`.

    Raises:
        InputError: a word is no name; a pattern is none, as what is moved or removed is named.
    """
    if is_pattern(text):
        raise InputError(
            f"{text!r} is a pattern, and one deployment is asked for: `cas pins '{text}'` lists its matches"
        )
    deployment, slash, model = trimmed(text).removeprefix("pin:").partition("/")
    return check_name(deployment, "deployment"), check_name(model, "model") if slash else None


def _asked(text: str) -> tuple[str, str]:
    """The patterns of deployments and of models that a list of pins is asked for."""
    if is_pattern(text):
        deployment, _, model = trimmed(text).removeprefix("pin:").partition("/")
        return deployment, model or "*"
    owner, only = pin_words(text)
    return owner, only or "*"


def pinned(store: Store, deployment: str, model: str | None = None) -> Ref:
    """Return a deployment's pin of a model.

    Args:
        store: where the pins are.
        deployment: whose pin to return.
        model: the pinned model; None for the only one that the deployment has pinned.

    Raises:
        NotFoundError: the deployment has not pinned the model.
        InputError: `model` is None, and the deployment has several pins.
    """
    if model is not None:
        check_name(model, "model")
    check_name(deployment, "deployment")
    store.check_format()
    models = sorted(models_pinned(store, deployment))
    if not models:
        raise _unknown(store, deployment)
    refs = ", ".join(str(Ref("pins", deployment, each)) for each in models)
    if model is None and len(models) > 1:
        raise InputError(f"{deployment} has pins of {', '.join(models)}: say which, as in {refs}")
    if model is None:
        return Ref("pins", deployment, models[0])
    if model not in models:
        raise NotFoundError(
            f"pin:{deployment}/{model} is not set in {store.url}: {deployment} has pins of {shown(model, models)}"
        )
    return Ref("pins", deployment, model)


def models_pinned(store: Store, deployment: str) -> dict[str, str]:
    """Return the models that a deployment has pinned, each with what is wrong with the pin; empty if nothing is.

    A pin that cannot be read, or does not count, is one, too: the version that it names must not be passed over. So is
    one that has a floor and no entries, as somebody deleted it.
    """
    found = {ref.model: now.problem for ref, now in reflog.in_force(store, "pins", deployment).items()}
    if store.trust is None:
        return found
    beginning = f"pin:{deployment}/"
    floors = [text[len(beginning) :] for text in store.trust.floors if text.startswith(beginning)]
    deleted = [model for model in floors if not RefLog(store, Ref("pins", deployment, model)).names()]
    return found | dict.fromkeys(deleted, "deleted")


def _unknown(store: Store, deployment: str) -> NotFoundError:
    if is_pattern(deployment):
        return NotFoundError(f"no pin in {store.url} matches {deployment!r}: see `cas pins`")
    hint = unknown_deployment(store, deployment) or (
        f"no deployment has; pin a version with `cas pin {deployment} MODEL`"
    )
    return NotFoundError(f"{deployment} has no pins in {store.url}: {hint}")
