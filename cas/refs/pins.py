"""The pins of deployments: which version of a model each of them restores."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cas.errors import FormatError, InputError, NotFoundError, SignatureError
from cas.formats.digest import named, short
from cas.formats.manifest import check_name, timestamp
from cas.parallel import for_each
from cas.refs import reflog
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
        deployment: only the pins of this deployment; None for all.

    Raises:
        NotFoundError: the deployment has no pins.
    """
    store.check_format()
    if deployment is not None:
        check_name(deployment, "deployment")
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

    if logs := reflog.logs(store, "pins", deployment or ""):
        for_each(read, logs, threads=min(_REQUESTS, len(logs)))
    if deployment is not None and not found:
        raise _unknown(store, deployment)
    return [pin for _, pin in sorted(found.items())]


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
    models = {pin.model: pin.ref for pin in pins(store, deployment)}
    names = ", ".join(models)
    if model is None and len(models) > 1:
        raise InputError(f"{deployment} has pins of {names}: say which, as in `cas unpin {deployment} {min(models)}`")
    if model is None:
        return next(iter(models.values()))
    if model not in models:
        raise NotFoundError(f"pin:{deployment}/{model} is not set in {store.url}: {deployment} has pins of {names}")
    return models[model]


def _unknown(store: Store, deployment: str) -> NotFoundError:
    known = sorted({ref.first for ref in reflog.current(store, "pins")})
    hint = (
        f"deployments with pins are {', '.join(known[:8])}"
        if known
        else f"no deployment has; pin a version with `cas pin {deployment} MODEL`"
    )
    return NotFoundError(f"{deployment} has no pins in {store.url}: {hint}")
