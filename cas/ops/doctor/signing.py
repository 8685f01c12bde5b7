"""The checks of signatures: which keys count here, what signs, under which name, and whether that works."""

from __future__ import annotations

from cas.ops.doctor.findings import Findings, Result, ok, skipped, warning
from cas.refs import reflog
from cas.store import signing
from cas.store.store import Store

_SHOWN = 8
_PROBE = b"model-cas doctor\n"  # is signed to see whether signing works; no statement of a ref begins so


def note_signing(findings: Findings, store: Store) -> None:
    """Note whose signatures count here, what signs, and the store's name in signatures; makes no request.

    Args:
        findings: where to note it.
        store: an open store.
    """
    findings.add("settings", "trusted", _trusted(store))
    signer = findings.check("settings", "signer", lambda: _signer(store))
    if store.trust is not None or signer.status != "skipped":
        findings.check("settings", "signed as", lambda: _name(store))


def examine_refs(findings: Findings, store: Store) -> None:
    """Note how many tags and pins trusted keys signed, where keys are trusted: one listing, two requests for each.

    Args:
        findings: where to note it.
        store: that can be listed.
    """
    if store.trust is None:
        return
    findings.check("store", "signatures", lambda: _refs(store))


def _trusted(store: Store) -> Result:
    trust = store.trust
    if trust is None:
        return skipped("no key: whoever may write tags and pins chooses what runs here (`cas trust add`)")
    keys = [f"{trust.called(key_id)} of {trust.where[key_id]}" for key_id in sorted(trust.keys)]
    floors = [f"floor {ref} {number} of {trust.where[ref]}" for ref, number in sorted(trust.floors.items())]
    return ok(_some([*keys, *floors]))


def _signer(store: Store) -> Result:
    from cas.refs.signatures import refuse_foreign_signer

    signer = store.signer
    if signer is None:
        return skipped("none: CAS_SIGNING_KEY or --sign-with names the key that signs moves of tags and pins")
    from cas.formats.minisign import verify

    refuse_foreign_signer(store)
    verify(_PROBE, signer.sign(_PROBE, "model-cas doctor"), {signer.public.id: signer.public})
    return ok(f"key {signer.public.id} (CAS_SIGNING_KEY), whose signatures verify")


def _name(store: Store) -> Result:
    name = store.name
    return ok(name if name == signing.canonical_name(store.url) else f"{name} ({signing.NAME})")


def _refs(store: Store) -> Result:
    found = {**reflog.in_force(store, "tags"), **reflog.in_force(store, "pins")}
    refused = {ref: now.problem for ref, now in found.items() if now.digest is None}
    if not refused:
        return ok(f"{len(found)} tags and pins, each signed by a trusted key")
    named = _some([f"{ref} ({problem})" for ref, problem in refused.items()])
    return warning(
        f"{len(refused)} of {len(found)} tags and pins do not count here: {named}",
        "sign them with `cas sign` if they are right; `cas audit` says more",
    )


def _some(words: list[str]) -> str:
    more = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f", and {more} more" if more > 0 else "")
