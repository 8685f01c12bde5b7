"""What a word means that names nothing as it is written: only the store can tell.

    8 or more digits                the version, of whatever model, whose digest begins so
    pin:DEPLOYMENT                  the only pin of the deployment
    a repo of the hub, ORG/NAME     the only model that holds it; a tag or a digest may follow
    a name in other letters         the only ref that differs in nothing else: F5-TTS for f5-tts

It is looked for only after the word as it is written was not found, so a plain reference costs no request more. What
several things fit is refused, and the error lists them.
"""

from __future__ import annotations

import re
import threading

from cas import events
from cas.errors import FormatError, InputError, IntegrityError, NotFoundError
from cas.formats.manifest import REPO_PATTERN
from cas.formats.outline import repo_ids
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.digits import find_version
from cas.refs.grammar import Reference, digits_in, parse_reference, trimmed
from cas.refs.likely import unknown_repo
from cas.refs.names import named_versions
from cas.store.layout import VersionId
from cas.store.manifests import read_manifest
from cas.store.store import Store

_REQUESTS = 16
_WORDS = re.compile(r"([^:@]*)(.*)", re.DOTALL)
_REPO = re.compile(REPO_PATTERN)


def other_meaning(store: Store, text: str, listen: events.Listener = events.ignore) -> Reference | None:
    """Return the reference that a text means besides what its words say; None for none.

    Args:
        store: where the version is.
        text: what somebody wrote, and what names nothing as it is written.
        listen: is told what the text was taken for, where that is not plain.

    Raises:
        InputError: several things fit; or keys are trusted, and it is a repo, which the error names the model of.
        NotFoundError: the text has a form of its own, and nothing fits.
        SignatureError: keys are trusted, and no signed entry names the version of which some digits are given.
        StoreMissing: there is no store.
    """
    text = trimmed(text)
    store.check_format()
    if digits := digits_in(text):
        version = find_version(store, digits)
        return Reference(version.model, digest=version.digest)
    if text.startswith("pin:") and "/" not in text:
        from cas.refs.pins import pinned

        ref = pinned(store, text.removeprefix("pin:"))
        return Reference(ref.model, deployment=ref.first)
    match = _WORDS.fullmatch(text)
    assert match is not None, "any text matches"
    name, rest = match.groups()
    if "/" in name and _REPO.fullmatch(name):
        model = _model_of_repo(store, name)
        if store.trust is not None:
            # Whoever deletes the log of one model must not get another one read by that, past its floor.
            raise InputError(
                f"{name} is {model} now: where keys are trusted, write {model}{rest}, as no key signs repos"
            )
        listen(events.Noted(f"{name} is {model}", important=True))
        return parse_reference(model + rest)
    return _in_other_letters(store, text, listen)


def definite(store: Store, text: str, listen: events.Listener = events.ignore) -> Reference:
    """Return the reference that a text is, or else means; raise what `parse_reference` or `other_meaning` raises."""
    try:
        return parse_reference(text)
    except InputError:
        if (meant := other_meaning(store, text, listen)) is None:
            raise
        return meant


def _model_of_repo(store: Store, repo: str) -> str:
    """Return the only model that holds a repo, by the versions that refs name now."""
    wanted, guard, found = repo.casefold(), threading.Lock(), set[str]()

    def read(version: VersionId) -> None:
        try:
            held = read_manifest(store, version, repo_ids)
        except (IntegrityError, FormatError, NotFoundError):
            return  # what cannot be read is no reason to leave another model out
        if wanted in (each.casefold() for each in held.repo_ids):
            with guard:
                found.add(version.model)

    if versions := named_versions(store).versions():
        for_each(read, versions, threads=min(_REQUESTS, len(versions)))
    if len(found) == 1:
        return found.pop()
    if found:
        raise InputError(f"{repo} is in {', '.join(sorted(found)[:8])}: name one of these models")
    raise NotFoundError(
        f"no model in {store.url} holds the repo {repo}: {unknown_repo(store, repo)}publish it with "
        f"`cas publish {_a_name(repo)} --repo {repo}`"
    )


def _a_name(repo: str) -> str:
    """A name that a model of a repo may well get."""
    return repo.rpartition("/")[2].lower().lstrip("._-")


def _in_other_letters(store: Store, text: str, listen: events.Listener) -> Reference | None:
    """Return the only ref whose name differs from the text in upper and lower case alone.

    None where keys are trusted: whoever deletes a log must not get another one read by that.
    """
    if store.trust is not None:
        return None
    try:
        reference = parse_reference(text)
    except InputError:
        return None
    wanted = str(reference).casefold()
    found = [log.ref for log in reflog.logs(store) if str(log.ref).casefold() == wanted]
    if len(found) != 1 or str(found[0]) == str(reference):
        return None
    (ref,) = found
    listen(events.Noted(f"{text} is {ref}", important=True))
    return parse_reference(str(ref))
