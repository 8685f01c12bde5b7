"""The version that a worker runs. Its environment names it when the command line does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cas import config
from cas.errors import InputError
from cas.formats.digest import named
from cas.formats.manifest import check_name
from cas.local.fs import may_be_there
from cas.refs.grammar import digits_in
from cas.refs.lock_file import read_lock
from cas.refs.reference import DEFAULT_TAG, Reference, Resolved, last_move, parse_reference
from cas.refs.reflog import Move, Ref, RefLog
from cas.store.store import Store, open_store

_WAYS = "set CAS_MODEL to a reference, CAS_LOCK to a lock file, or CAS_DEPLOYMENT to a deployment with one pin"


@dataclass(frozen=True, slots=True)
class Choice:
    """The version to run: a reference, or else a lock file.

    Attributes:
        reason: why this version, in words.
        reference: the reference as its author wrote it; empty for a lock file.
        lock: the lock file; None for a reference.
        by_default: whether nobody chose this version: it is the tag latest because no tag, digest, pin or lock file is
            named.
        pin: the pin that was read, and `move` its last move, which may be a removal; None where no pin was read, or it
            was never set. Where keys are trusted, the move was verified.
        parsed: the parsed reference; None for a lock file.

    Raises:
        InputError: the text of the reference is not one.
    """

    reason: str
    reference: str = ""
    lock: Path | None = None
    by_default: bool = field(default=False, compare=False)
    pin: Ref | None = field(default=None, compare=False, repr=False)
    move: Move | None = field(default=None, compare=False, repr=False)
    parsed: Reference | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parsed", parse_reference(self.reference) if self.lock is None else None)

    def __str__(self) -> str:
        """The words of a command line that name this version: `f5-tts:latest`, or `--lock FILE`."""
        return self.reference if self.lock is None else f"--lock {self.lock}"

    @property
    def caution(self) -> str:
        """What speaks against a configuration that names the version in this way; empty if nothing does.

        A few digits of a digest are no proof of content: it takes minutes to make another manifest that shares 8 of
        them, which are 32 bits.
        """
        digest = (self.parsed.digest if self.parsed is not None else None) or digits_in(self.reference)
        if digest is None or len(digest) == 64:
            return ""
        return (
            f"{self.reason} names {self.reference} by {len(digest)} of the 64 digits of its digest, which another "
            "version can be made to share: write all of them, as `cas show` prints them"
        )

    def version(self) -> str | Resolved:
        """Return what an operation takes: the reference, or the version in the lock file, as `read_lock` reads it."""
        return self.reference if self.lock is None else read_lock(self.lock)


def choose(
    environ: Mapping[str, str],
    *,
    model: str | None = None,
    default_lock: str | Path | None = None,
    store: Store | str | None = None,
    hubs: Sequence[Path] = (),
    keep: bool = False,
) -> Choice:
    """Return the version that an environment names.

    The first of these that is set decides:

    1. CAS_MODEL, a reference;
    2. CAS_LOCK, a lock file, or else `default_lock` when that file exists;
    3. the pin of the deployment, which CAS_DEPLOYMENT names, or else RUNPOD_ENDPOINT_ID;
    4. the tag latest, only when there is no deployment, or the store says that it has no such pin.

    Args:
        environ: the environment variables.
        model: the model to run; None for the only one that the deployment has pinned.
        default_lock: a lock file that need not exist.
        store: where the pins are: an open store, its URL, or None for the default. It is read only for step 3.
        hubs: hub caches. Where keys are trusted, the pin must not be older than what any of them has seen.
        keep: keep in these caches what was seen.

    Raises:
        InputError: nothing names a model, or a variable holds something that is no name or reference.
        SignatureError: keys are trusted, and none of them signed the pin as it is, or it is too old.
        CasError: the pin could not be read: the version it names must not be passed over.
    """
    if reference := config.read("CAS_MODEL", environ):
        only_model = ":" not in reference and "@" not in reference
        return Choice("CAS_MODEL", reference, by_default=only_model)
    if lock := config.read("CAS_LOCK", environ):
        return Choice(f"lock file {lock}", lock=Path(lock))
    if default_lock is not None and may_be_there(default_lock):
        return Choice(f"lock file {default_lock}", lock=Path(default_lock))
    if model is not None:
        check_name(model, "model")
    deployment = config.first("CAS_DEPLOYMENT", "RUNPOD_ENDPOINT_ID", environ=environ).value
    if not deployment:
        if model is None:
            raise InputError(f"nothing names a model: give a REF, or {_WAYS}")
        return Choice("no deployment is named, so latest", f"{model}:{DEFAULT_TAG}", by_default=True)
    check_name(deployment, "deployment")
    return _pinned(open_store(store), deployment, model, hubs, keep=keep)


def _pinned(store: Store, deployment: str, model: str | None, hubs: Sequence[Path], *, keep: bool) -> Choice:
    only = model or _only_model(store, deployment)
    pin = Ref("pins", deployment, only)
    move = last_move(RefLog(store, pin), hubs, keep=keep)
    digest = move.entry.digest if move else None
    if move is None or digest is None:
        reason = f"no pin of deployment {deployment}, so latest"
        return Choice(reason, f"{only}:{DEFAULT_TAG}", by_default=True, pin=pin if move else None, move=move)
    return Choice(f"pin of deployment {deployment}", f"{only}@{named(digest)}", pin=pin, move=move)


def _only_model(store: Store, deployment: str) -> str:
    from cas.refs.likely import unknown_deployment
    from cas.refs.pins import models_pinned

    problems = models_pinned(store, deployment)
    models = sorted(problems)
    if len(models) == 1:
        return models[0]
    if models:
        shown = ", ".join(f"{model} ({problems[model]})" if problems[model] else model for model in models[:8])
        raise InputError(f"deployment {deployment} has pins of {shown}: give a REF, or set CAS_MODEL")
    store.check_format()  # a wrong URL has no pins either: then this raises the error that says so
    others = unknown_deployment(store, deployment)
    there = f" ({others})" if others else ""
    raise InputError(f"deployment {deployment} has no pin in {store.url}{there}, and nothing names a model: {_WAYS}")
