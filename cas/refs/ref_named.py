"""Which tag or pin a word names, for commands that are about refs and not about versions."""

from __future__ import annotations

from cas.errors import CasError, InputError
from cas.refs.digits import find_version
from cas.refs.grammar import Reference, digits_in, parse_reference
from cas.refs.likely import absent
from cas.refs.meaning import definite, other_meaning
from cas.refs.names import named_versions
from cas.refs.reference import resolve
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store


def ref_named(
    store: Store,
    text: str,
    what: str = "name a tag (model:tag) or pin:deployment/model",
    *,
    must_exist: bool = True,
    as_written: bool = False,
) -> Ref:
    """Return the tag or pin that a text names.

    Args:
        store: where the ref is.
        text: what somebody wrote.
        what: what to do about a text that names a version, for the error.
        must_exist: whether a ref that was never set is an error.
        as_written: whether a text means nothing besides what its words say.

    Raises:
        InputError: the text names a version by its digest; the error tells which refs name that.
        RefUnset: `must_exist`, and the ref was never set.
        CasError: as `definite`.
    """
    reference = parse_reference(text) if as_written else definite(store, text)
    ref = _ref_of(reference)
    if not as_written and ref is not None and reference.digest is None and not RefLog(store, ref).names():
        meant = other_meaning(store, text)
        if meant is None and must_exist:
            raise absent(store, ref)
        reference = meant or reference
        ref = _ref_of(reference)
    if as_written and (digits := digits_in(text)) and ref is not None and not RefLog(store, ref).names():
        # Digits alone, and no model is named so: what they name is a version.
        version = find_version(store, digits)
        reference, ref = Reference(version.model, digest=version.digest), None
    if reference.digest is not None and ref is not None:
        resolve(store, reference)  # which raises where the tag names another version
    if ref is None:
        raise InputError(f"{text} is one version, which never changes: {what}{_names_of(store, reference)}")
    return ref


def _ref_of(reference: Reference) -> Ref | None:
    if reference.deployment is not None:
        return Ref("pins", reference.deployment, reference.model)
    return None if reference.tag is None else Ref("tags", reference.model, reference.tag)


def _names_of(store: Store, reference: Reference) -> str:
    """In words, which refs name a version now; empty where that is not known."""
    try:
        version = find_version(store, reference.digest or "", reference.model)
        found = named_versions(store, version.model).of(*version).refs(version.model)
    except CasError:
        return ""
    return f"; {', '.join(map(str, found))} name{'s' if len(found) == 1 else ''} it" if found else ""
