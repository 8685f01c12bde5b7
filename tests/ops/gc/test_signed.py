"""Signatures go with their entries, and who cannot sign cannot make the collector delete what was released."""

from __future__ import annotations

import datetime

import pytest

from cas.bucket import Kind
from cas.ops.fsck.checker import fsck
from cas.ops.gc import collector
from cas.refs.reflog import KEPT, Ref, RefLog
from cas.store import layout
from cas.store.store import Store
from tests.support.collecting import AT_ONCE, Models
from tests.support.signed_stores import KEY, OTHER, move, objects_of_refs, trusting, unsigned

LATEST = Ref("tags", "m", "latest")


def collect(store: Store, *, times: int = 2, keep: int = KEPT) -> None:
    """Run the collector of a store so often that what is unreferenced goes."""
    for _ in range(times):
        collector.gc(store, grace=AT_ONCE, keep=keep)


def signed_entries(store: Store) -> list[str]:
    """The names of the entries that a signature lies beside, sorted."""
    found = filter(None, map(layout.ref_signature, objects_of_refs(store, ".minisig")))
    return sorted(signature.entry.name for signature in found)


def test_signatures_go_and_stay_with_their_entries(local: Models) -> None:
    one, two = local.publish("1"), local.publish("2")
    store = trusting(local.store)
    for number in range(KEPT + 5):
        move(store, (one, two)[number % 2])
    collect(store, times=1)
    names = RefLog(store, LATEST).names()
    assert len(names) == KEPT
    assert signed_entries(store) == names
    assert RefLog(store, LATEST).history(), "and all of them verify"
    move(store, None)
    collect(local.store, times=1)  # a collector that trusts nobody leaves nothing behind either
    assert signed_entries(store) == RefLog(store, LATEST).names()
    assert len(signed_entries(store)) == 1
    assert RefLog(store, LATEST).current_digest() is None


def test_a_signature_without_its_entry_goes_after_the_grace_period(local: Models) -> None:
    store = trusting(local.store)
    move(store, local.publish("1"))
    (written,) = objects_of_refs(store, ".minisig")
    alone = written.replace("latest", "other").replace("00000002-", "00000001-")
    store.bucket.put(alone, b"never followed by its entry", Kind.SIGNATURE)
    assert fsck(None, store).orphaned_signatures == 1
    collector.gc(store, grace=datetime.timedelta(hours=1))
    assert {written, alone} == objects_of_refs(store, ".minisig").keys()
    collector.gc(store, grace=AT_ONCE)
    assert {written} == objects_of_refs(store, ".minisig").keys()
    assert fsck(None, store).orphaned_signatures == 0


@pytest.mark.parametrize(
    "attack", ["many entries", "a removal", "entries by a key that is not trusted", "forged signatures"]
)
def test_no_attack_without_the_key_makes_the_collector_delete_what_was_released(local: Models, attack: str) -> None:
    evil, good = local.publish("evil"), local.publish("good", tag="prod")
    store = trusting(local.store)
    ref = move(store, good, "prod")
    kept = objects_of_refs(store, RefLog(store, ref).names()[-1])
    attacker = trusting(store, OTHER, (OTHER,)) if "trusted" in attack else unsigned(store)
    for _ in range(1 if attack == "a removal" else KEPT + 1):
        move(attacker, None if attack == "a removal" else evil, "prod")
    for key, text in objects_of_refs(store, ".minisig").items() if attack == "forged signatures" else ():
        for name in RefLog(unsigned(store), ref).names()[-KEPT:]:
            forged = f"{ref.prefix}/{name.removesuffix('.json')}-{key.rpartition('/')[2].split('-', 2)[2]}"
            store.bucket.put(forged, text, Kind.SIGNATURE)
    collect(store)
    assert {good, evil} <= local.versions()
    assert kept.items() <= objects_of_refs(store).items()
    RefLog(store, ref).append(good, "mended")
    assert local.restored("m:prod").startswith(b"good")
    collect(local.store)
    assert good in local.versions()


def test_without_keys_all_is_as_before(local: Models) -> None:
    evil, good = local.publish("evil"), local.publish("good", tag="prod")
    move(trusting(local.store), good, "prod")
    for _ in range(KEPT + 1):
        move(local.store, evil, "prod")
    collect(local.store)
    assert local.versions() == {evil}, "who trusts no key cannot tell one from the other"


def test_what_is_not_signed_is_retained_all_the_same(local: Models) -> None:
    store = trusting(local.store)
    move(store, local.publish("signed"), "prod")
    local.publish("not signed", tag="dev")
    collect(store)
    assert local.versions() == {*local.made.values()}


def test_a_removal_that_is_signed_frees_what_was_named(local: Models) -> None:
    store = trusting(local.store, keys=(KEY, OTHER))
    gone, stays = local.publish("gone", tag="old"), local.publish("stays")
    move(store, gone, "old")
    move(store, None, "old")
    collect(store)
    assert local.versions() == {stays}
