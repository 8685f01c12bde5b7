"""Which version a worker runs, when its command line does not say: told by its environment, with the reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cas.errors import InputError
from cas.formats.digest import named
from cas.formats.manifest import check_name
from cas.refs import reflog
from cas.refs.lock_file import read_lock
from cas.refs.reference import DEFAULT_TAG, Reference, Resolved, parse_reference
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store, open_store

_WAYS = "set CAS_MODEL to a reference, CAS_LOCK to a lock file, or CAS_DEPLOYMENT to a deployment with one pin"


@dataclass(frozen=True, slots=True)
class Choice:
    """The version to run: a reference, or else a lock file.

    Attributes:
        reason: why this version, in words.
        reference: the reference as its author wrote it; empty for a lock file.
        lock: the lock file; None for a reference.
        parsed: the parsed reference; None for a lock file.

    Raises:
        InputError: the text of the reference is not one.
    """

    reason: str
    reference: str = ""
    lock: Path | None = None
    parsed: Reference | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parsed", parse_reference(self.reference) if self.lock is None else None)

    def __str__(self) -> str:
        """The words of a command line that name this version: `f5-tts:latest`, or `--lock FILE`."""
        return self.reference if self.lock is None else f"--lock {self.lock}"

    def version(self) -> str | Resolved:
        """Return what an operation takes: the reference, or the version in the lock file, as `read_lock` reads it."""
        return self.reference if self.lock is None else read_lock(self.lock)


def choose(
    environ: Mapping[str, str],
    *,
    model: str | None = None,
    default_lock: str | Path | None = None,
    store: Store | str | None = None,
) -> Choice:
    """The version that an environment names.

    In this order: CAS_MODEL, a reference; CAS_LOCK, or `default_lock` where there is such a file; the pin of the
    deployment (CAS_DEPLOYMENT, else RUNPOD_ENDPOINT_ID); the tag latest. model: of which model; without it, the only
    one that the deployment has a pin of. store: where pins are, an open one, a URL, or None for the default; asked only
    when it comes to pins. Raises InputError when nothing names a model, and what reading a pin raises: only a pin that
    the store says is not there makes way for latest.
    """
    if reference := environ.get("CAS_MODEL"):
        return Choice("CAS_MODEL", reference)
    if lock := environ.get("CAS_LOCK"):
        return Choice(f"lock file {lock}", lock=Path(lock))
    if default_lock is not None and _is_there(default_lock):
        return Choice(f"lock file {default_lock}", lock=Path(default_lock))
    if model is not None:
        check_name(model, "model")
    deployment = environ.get("CAS_DEPLOYMENT") or environ.get("RUNPOD_ENDPOINT_ID")
    if not deployment:
        if model is None:
            raise InputError(f"nothing names a model: give a REF, or {_WAYS}")
        return Choice("no deployment is named, so latest", f"{model}:{DEFAULT_TAG}")
    check_name(deployment, "deployment")
    return _pinned(open_store(store), deployment, model)


def _pinned(store: Store, deployment: str, model: str | None) -> Choice:
    only = model or _only_model(store, deployment)
    digest = RefLog(store, Ref("pins", deployment, only)).current_digest()
    if digest is None:
        return Choice(f"no pin of deployment {deployment}, so latest", f"{only}:{DEFAULT_TAG}")
    return Choice(f"pin of deployment {deployment}", f"{only}@{named(digest)}")


def _only_model(store: Store, deployment: str) -> str:
    # A pin that cannot be read counts: what it names must not be passed over.
    models = [ref.model for ref in reflog.current(store, "pins", deployment)]
    if len(models) == 1:
        return models[0]
    if models:
        shown = ", ".join(models[:8])
        raise InputError(f"deployment {deployment} has pins of {shown}: give a REF, or set CAS_MODEL")
    store.check_format()  # a wrong URL has no pins either, and is what there is to say then
    raise InputError(f"deployment {deployment} has no pin in {store.url}, and nothing names a model: {_WAYS}")


def _is_there(path: str | Path) -> bool:
    """Whether there is something by that name; what cannot be looked at is, and reading it will say why."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
