"""Signatures of what tags and pins name, and statements of what a version's files are, for Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cas import events
from cas.errors import InputError
from cas.store.store import Store, open_store

if TYPE_CHECKING:
    from cas.ops.attest.attester import Attested
    from cas.refs.sign import SignedEntry


def sign(
    references: str | Sequence[str] = (),
    store: Store | str | None = None,
    *,
    tags: Sequence[str] = (),
    everything: bool = False,
    rotate: bool = False,
    by: str | None = None,
    expect: str | None = None,
    dry_run: bool = False,
    on_event: events.Listener = events.log,
) -> list[SignedEntry]:
    """Sign what tags and pins name now, whoever moved them there.

    An entry with a `problem` was left alone: what it names does not count here, and has to be moved anew.

    Args:
        references: the tags and pins; with `tags`, one version.
        store: a store opened with the key that signs (`open_store(…, sign_with=…)`, or CAS_SIGNING_KEY).
        tags: move these tags of the version's model to it, signed.
        everything: sign every tag and pin of the store.
        rotate: add this key's signature to what a trusted key signed, history included.
        by: who moves the tags, by default user@host.
        expect: the version that each tag must name now, or `none`.
        dry_run: write nothing.
        on_event: hears of warnings.

    Raises:
        InputError: nothing says what to sign, or two arguments exclude each other.
        SignatureError: nothing signs here, or the key is not trusted here.
    """
    from cas.refs import sign as signing

    texts = [references] if isinstance(references, str) else list(references)
    if everything == bool(texts):
        raise InputError("say what to sign: references, or everything=True")
    if tags and (everything or rotate or len(texts) != 1):
        raise InputError("tags go with one version: sign('model@digest', tags=['prod'])")
    if rotate and expect:
        raise InputError("expect goes without rotate, which signs only what a trusted key has signed")
    opened = open_store(store)
    if tags:
        return _sign_moved(opened, texts[0], tags, by, expect, on_event, dry_run=dry_run)
    refs = signing.all_refs(opened) if everything else signing.refs_named(opened, texts)
    if rotate:
        return signing.rotate(opened, refs, dry_run=dry_run)
    return signing.sign_refs(opened, refs, expect=expect, dry_run=dry_run)


def _sign_moved(
    store: Store,
    reference: str,
    tags: Sequence[str],
    by: str | None,
    expect: str | None,
    on_event: events.Listener,
    *,
    dry_run: bool,
) -> list[SignedEntry]:
    """Move tags to a version, signed, and sign those that name it already; return their entries in force."""
    from cas.refs import move
    from cas.refs import sign as signing
    from cas.refs.entry import SIGN
    from cas.refs.given_names import tag_to_set
    from cas.refs.reference import resolve

    resolved = resolve(store, reference, listen=on_event)
    refs = list(dict.fromkeys(tag_to_set(resolved.manifest.model, name) for name in tags))
    if dry_run:
        return []
    signing.signer_needed(store)
    before = {ref: move.expected_move(store, ref, expect) if expect else None for ref in refs}
    moved = move.move(store, before, resolved.digest, SIGN, by, on_event)
    found = signing.sign_refs(store, refs, expect=resolved.digest)
    return [replace(entry, added=entry.added or entry.ref in moved) for entry in found]


def attest(
    reference: str,
    store: Store | str | None = None,
    *,
    file: str | Path | None = None,
    key: str | Path | None = None,
    layout: str = "{path}",
    on_event: events.Listener = events.log,
) -> Attested:
    """State what every file of a version hashes to (sha256), and where it comes from, as an in-toto statement.

    Args:
        reference: names the version.
        store: an open store, a URL, or None for the default.
        file: where to write the statement, or the bundle of a signed one; its bytes are `data` of the result, too.
        key: the file of the key that signs it, in PEM; by default what CAS_ATTEST_KEY names.
        layout: of the folder that is verified, as in `Folder`.
        on_event: hears what happens.

    Raises:
        NotFoundError: the store has no such version.
        InputError: there is no such key, or it is no elliptic curve key.
        CacheError: the file cannot be written.
    """
    from cas.local.whole_file import write_whole
    from cas.ops.attest import attester
    from cas.ops.attest.ec_key import key_named

    found = key_named(None if key is None else str(key))
    done = attester.attest(reference, store, layout=layout, key=found, on_event=on_event)
    if file is not None:
        write_whole(Path(file), done.data, "choose another file")
    return done
