"""`cas doctor`: whether a store, a key and this machine do what publishing, restoring and collecting need.

    settings   which store is meant, and where each setting comes from; whose signatures count, and what signs
    answers    read format.json: a dead endpoint, a wrong key or a missing bucket ends the checks of the store
    reads      the clock, reading, listing; the same through the cache that CAS_READ_URL names
    writes     in a folder of its own: one small object, then what only a key that may delete can clear again
    clear      whatever was written, also when the examination is interrupted
    machine    the cache directory, the hub

Checks that read come first: a key that may not read is told so before anything is written. What a check needs is found
out before it: a key that may not delete leaves two small objects behind, and no large one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cas.bucket import RetryPolicy
from cas.errors import CasError
from cas.local.trusted_keys import configured_trust
from cas.ops.doctor.cdn import examine_cdn
from cas.ops.doctor.findings import Finding, Findings, failed
from cas.ops.doctor.hub import examine_hub
from cas.ops.doctor.machine import examine_cache
from cas.ops.doctor.probes import Probes
from cas.ops.doctor.roles import Role, roles_of
from cas.ops.doctor.settings import note_cdn, note_server, note_store
from cas.ops.doctor.signing import examine_refs, note_signing
from cas.ops.doctor.store_checks import StoreExamination
from cas.store.store import Store, open_store

# A person waits for the answer: fewer tries than a restore makes, which has nobody to ask.
_POLICY = RetryPolicy(connect=5, answer=15, silence=10, attempts=5, unreachable_attempts=2, give_up=30)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What an examination found.

    Attributes:
        store: URL or path of the store; empty when none could be opened.
        endpoint: the URL that requests to S3 went to; empty for other stores, or when nothing answered.
        region: for which requests were signed.
        provider: what the storage is.
        role: that the key was examined for; None for all.
        roles: that the key suffices for, as far as it was tried.
        findings: in the order of the checks.
        exit_code: 0, or that of the worst finding.
        seconds: wall time.
    """

    store: str
    endpoint: str
    region: str
    provider: str
    role: Role | None
    roles: list[Role]
    findings: list[Finding]
    exit_code: int
    seconds: float


def examine(
    store: Store | str | None = None,
    role: Role | None = None,
    *,
    cache_dir: str | None = None,
    policy: RetryPolicy = _POLICY,
    on_finding: Callable[[Finding], None] = lambda finding: None,
) -> Diagnosis:
    """Examine a store, the key to it and this machine. No problem of theirs raises an error: each is a finding.

    Args:
        store: an open store, a URL, or None for the default.
        role: what the key is meant for: it should have what that needs, and no more. None examines it for everything.
        cache_dir: the hub cache; None for the one that the environment names.
        policy: when requests are given up.
        on_finding: is told each finding at once.
    """
    begun = time.monotonic()
    findings = Findings(on_finding)
    examination = _examine_store(store, role, policy, findings)
    try:
        examine_cache(findings, cache_dir)
    except CasError as error:
        findings.add("machine", "cache", failed(str(error), code=error.exit_code))
    examine_hub(findings, role)
    facts = examination.facts if examination else None
    return Diagnosis(
        store=examination.store.url if examination else "",
        endpoint=facts.endpoint if facts else "",
        region=facts.region if facts else "",
        provider=examination.provider.name if examination else "",
        role=role,
        roles=roles_of(examination.rights) if examination else [],
        findings=findings.found,
        exit_code=findings.exit_code(),
        seconds=time.monotonic() - begun,
    )


def _examine_store(
    given: Store | str | None, role: Role | None, policy: RetryPolicy, findings: Findings
) -> StoreExamination | None:
    """Examine the store; return None when the settings name none that could be opened."""
    try:
        store = open_store(given, policy=policy)
        note_store(findings, store.url, store.url if isinstance(given, Store) else given)
        host = note_server(findings, store.url)
    except CasError as error:
        findings.add("settings", _setting_of(error), failed(str(error), code=error.exit_code))
        return None
    note_signing(findings, store)
    # Publishers and collectors read the bucket itself.
    cache = note_cdn(findings, store.url) if role in (None, "reader") else ""
    examination = StoreExamination(store, role, findings, host)
    if examination.answers():
        examination.listing()
        if examination.rights.get("list") and examination.exists and not examination.is_web:
            examine_refs(findings, store)
        if cache:
            examine_cdn(examination, cache, policy)
        Probes(examination).run()
    return examination


def _setting_of(error: CasError) -> str:
    """The setting that kept the store from being opened: the keys that are trusted, or what names the store."""
    try:
        configured_trust()
    except CasError as of_keys:
        return "trusted" if str(of_keys) == str(error) else "store"
    return "store"
