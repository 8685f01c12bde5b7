"""What somebody may have meant by a name that is not in the store, in words for the error."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cas.errors import AccessDenied, RefUnset, Unsupported
from cas.refs import reflog
from cas.refs.grammar import digits_in
from cas.refs.reflog import Ref
from cas.store.store import Store

_SHOWN = 8  # names in one line
_FEW_DIGITS = re.compile(r"(?=.*[0-9])[0-9a-f]{4,7}")
_ALIKE = 0.65  # of what difflib calls the ratio of two words: 1 for the same


def absent(store: Store, ref: Ref) -> RefUnset:
    """Return the error for a tag or pin that was never set: it says what is there that is written alike."""
    try:
        hint = _of_tag(store, ref) if ref.kind == "tags" else _of_pin(store, ref)
    except (Unsupported, AccessDenied):  # who may read this ref need not be allowed to list others
        hint = "check the name"
    return RefUnset(f"{ref} is not in {store.url}: {hint}")


def unknown_model(store: Store, model: str) -> str:
    """Return, for an error, what a word may mean that is the name of no model of a store."""
    models = store.models()
    deployments: dict[str, list[str]] = {}
    for pin in reflog.current(store, "pins"):
        deployments.setdefault(pin.first, []).append(pin.model)
    if model in deployments:
        pins = ", ".join(f"pin:{model}/{each}" for each in deployments[model][:_SHOWN])
        return f"{model} is a deployment: write {pins}"
    if tagged := [ref for ref in reflog.current(store, "tags") if ref.second == model]:
        return f"{model} is a tag: write {', '.join(map(str, tagged[:_SHOWN]))}"
    if digits_in(model):
        return f"if that is a version, write its model before it, as in MODEL@{model}"
    from cas.refs.other_words import path_on_this_machine

    if path := path_on_this_machine(model):
        return path
    if not models:
        return "the store is empty: publish a model with `cas publish`"
    digits = "a digest takes 8 or more digits; " if _FEW_DIGITS.fullmatch(model) else ""
    return f"{did_you_mean(model, models)}{digits}the store's models are {shown(model, models)}"


def unknown_repo(store: Store, repo: str) -> str:
    """Return, for an error, the pin or tag that DEPLOYMENT/MODEL or MODEL/TAG means; empty where there is none."""
    meant = (f"pin:{repo}", repo.replace("/", ":"))
    found = (ref for kind in ("pins", "tags") for ref in reflog.current(store, kind) if str(ref) in meant)
    return next((f"did you mean {ref}? " for ref in found), "")


def unknown_deployment(store: Store, deployment: str, model: str | None = None) -> str:
    """Return, for an error, which deployments have pins in a store, those written alike first; empty if none has.

    Args:
        store: where the pins are.
        deployment: a name of which no pin is known.
        model: whose pin is asked for; None for any.
    """
    pins = list(reflog.current(store, "pins"))
    if not pins:
        return ""
    close = _close(deployment, (pin.first for pin in pins if model in (None, pin.model)))
    meant = (f"pin:{close[0]}/{model}" if model else close[0]) if close else ""
    known = shown(deployment, (pin.first for pin in pins))
    return f"{f'did you mean {meant}? ' if meant else ''}deployments with pins are {known}"


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return `did you mean NAME? ` for the name that a word is most like; empty where none is."""
    close = _close(word, names)
    return f"did you mean {close[0]}? " if close else ""


def shown(word: str, names: Iterable[str]) -> str:
    """Return some of the names in a line: first those that the word is like, then the others in their order."""
    distinct = set(names)
    close = _close(word, distinct)
    return ", ".join([*close, *sorted(distinct.difference(close))][:_SHOWN])


def _close(word: str, names: Iterable[str]) -> list[str]:
    from difflib import get_close_matches

    spelled = {name.lower(): name for name in sorted(names)}
    return [spelled[name] for name in get_close_matches(word.lower(), spelled, cutoff=_ALIKE)]


def _of_tag(store: Store, ref: Ref) -> str:
    tags = [other.second for other in reflog.current(store, "tags", ref.first) if other != ref]
    if tags:
        close = _close(ref.second, tags)
        return f"{f'did you mean {ref.first}:{close[0]}? ' if close else ''}its tags are {shown(ref.second, tags)}"
    if ref.first in store.models():
        return f"no tag names a version of it: see `cas ls {ref.first}`"
    return unknown_model(store, ref.first)


def _of_pin(store: Store, ref: Ref) -> str:
    deployment, model = ref.first, ref.second
    if pinned := sorted(other.second for other in reflog.current(store, "pins", deployment) if other != ref):
        return f"{did_you_mean(model, pinned)}{deployment} has pins of {shown(model, pinned)}"
    if not (known := unknown_deployment(store, deployment, model)):
        return f"no deployment has a pin: set it with `cas pin {deployment} {model}`"
    return known
