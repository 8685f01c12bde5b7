"""The tags and pins that a call names to set or to remove, in each form in which they are printed."""

from __future__ import annotations

from cas.errors import FormatError, InputError, SignatureError
from cas.formats.manifest import check_name
from cas.refs.grammar import parse_reference
from cas.refs.likely import absent
from cas.refs.meaning import definite
from cas.refs.other_words import is_pattern
from cas.refs.pins import pin_words, pinned
from cas.refs.reference import log_of
from cas.refs.reflog import Ref
from cas.store.store import Store


def tag_to_set(model: str, text: str) -> Ref:
    """Return the tag of a version's model that a text names: `prod`, or `model:prod`.

    Raises:
        InputError: it is no name, a pin, or a tag of another model.
    """
    if text.startswith("pin:"):
        raise InputError(f"{text} is a pin, and not a tag: set it with `cas pin DEPLOYMENT REF`")
    if ":" not in text:
        return Ref("tags", model, check_name(text, "tag"))
    given = parse_reference(text if not text.startswith(":") else model + text)
    if given.digest is not None:
        raise InputError(f"{text} is a version, and not a tag: write TAG, or {model}:TAG")
    if given.model != model:
        raise InputError(
            f"{text} is a tag of {given.model}, and the version is of {model}: a tag names versions of its own model "
            f"alone; write {model}:{given.tag}, or publish the files as {given.model}"
        )
    return Ref("tags", model, str(given.tag))


def tag_to_remove(store: Store, text: str) -> Ref:
    """Return the tag that a text names.

    Raises:
        InputError: it names something else than one tag.
        RefUnset: the tag is not set.
    """
    if is_pattern(text):
        raise InputError(f"{text!r} is a pattern, and what is removed is named: `cas ls '{text}'` lists what matches")
    reference = definite(store, text)
    if reference.deployment is not None:
        raise InputError(f"{text} is a pin: remove it with `cas unpin {reference.deployment} {reference.model}`")
    if reference.digest is not None:
        raise InputError(f"{text} is a version, not a tag: write MODEL:TAG")
    if ":" not in text:
        raise InputError(f"{text} is a model: name the tag to remove, as in {reference}")
    store.check_format()
    log = log_of(store, reference)
    try:
        if log.current_digest() is None:
            raise absent(store, log.ref)
    except (FormatError, SignatureError):
        pass  # a tag whose last entry cannot be read, or does not count, can still be removed
    return log.ref


def pin_to_set(text: str, reference: str, model: str) -> Ref:
    """Return the pin of a version that a text names: `eu-prod`, or `pin:eu-prod/model`.

    Args:
        text: names the deployment, or the pin.
        reference: names the version, for the error.
        model: that the version is of.

    Raises:
        InputError: it is no name, or a pin of another model.
    """
    deployment, named = pin_words(text)
    ref = Ref("pins", deployment, model)
    if named not in (None, model):
        raise InputError(f"{text} is a pin of {named}, and {reference} is a version of {model}: write {ref}")
    return ref


def pin_to_remove(store: Store, text: str, model: str | None = None) -> Ref:
    """Return the pin that a text names: `eu-prod`, or `pin:eu-prod/model`.

    Args:
        store: where the pin is.
        text: names the deployment, or the pin.
        model: the pinned model; None for the one in the text, or else the only one.

    Raises:
        InputError: it is no name; two models are named, or none, and the deployment has several pins.
        NotFoundError: there is no such pin.
    """
    deployment, named = pin_words(text)
    if model is not None and named not in (None, model):
        raise InputError(f"{text} is a pin of {named}, and not of {model}: name one of them")
    return pinned(store, deployment, model or named)
