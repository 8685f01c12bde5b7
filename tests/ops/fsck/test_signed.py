"""A check asks for no signature; what lost refs named must be signed in the source, and is signed again here."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas import events
from cas.errors import SignerMissing
from cas.ops.fsck.checker import fsck
from cas.ops.transfer.mirror import mirror
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.store import Store, open_store
from tests.ops.fsck.test_lost import lose
from tests.support.damage import fill
from tests.support.in_process import call_cas
from tests.support.signed_stores import key_files, move, objects_of_refs, trusting, unsigned

LATEST = Ref("tags", "m", "latest")


@pytest.fixture
def copied(directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Store]:
    """A store that is signed, and a copy of it that is signed, too; by configuration, as `fsck` opens sources."""
    for name, value in key_files(tmp_path).items():
        monkeypatch.setenv(name, value)
    fill(directory_store)
    for log in ("m", "other"):
        move(trusting(directory_store), RefLog(directory_store, Ref("tags", log, "latest")).current_digest(), model=log)
    store, copy = open_store(directory_store.url), open_store(str(tmp_path / "copy"))
    mirror([], copy, store)
    return store, copy


def test_a_check_asks_for_no_signature(copied: tuple[Store, Store]) -> None:
    store, _ = copied
    move(unsigned(store), RefLog(store, LATEST).current_digest())
    for scope in (None, "m", "m:latest"):
        checked = fsck(scope, store)
        assert (checked.sound, checked.refused, checked.versions > 0) == (True, (), True)
    lost = RefLog(store, LATEST, is_verified=False).current_digest()
    assert lost is not None
    store.bucket.delete(layout.manifest_key("m", lost))
    for scope in (None, "m", "m:latest"):
        (item,) = fsck(scope, store).missing.items
        assert (item.what, item.name, item.needed_by) == ("manifest", str(VersionId("m", lost)), "m:latest")


def test_lost_refs_are_set_again_as_far_as_the_source_is_signed(copied: tuple[Store, Store]) -> None:
    store, copy = copied
    digest = RefLog(copy, LATEST).current_digest()
    move(unsigned(copy), digest, model="other")
    lose(store)
    told: list[str] = []
    listen = lambda event: told.append(event.text) if isinstance(event, events.Warned) else None
    checked = fsck(None, store.url, repair_from=[copy.url], on_event=listen)
    assert checked.sound and len(checked.refused) == 1
    assert "other:latest" in checked.refused[0]
    assert [text for text in told if text.startswith("other:latest is not set again")]
    assert RefLog(store, LATEST).current_digest() == digest
    assert not [key for key in objects_of_refs(store) if "/other/" in key]


def test_the_command_ends_with_8(copied: tuple[Store, Store]) -> None:
    store, copy = copied
    move(unsigned(copy), None, model="other")
    lose(store)
    done = call_cas("fsck", "--store", store.url, "--repair-from", copy.url)
    assert (done.returncode, "1 tags or pins are not set again: other:latest" in done.stderr) == (8, True)


def test_without_a_signer_nothing_is_begun(copied: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    store, copy = copied
    monkeypatch.delenv("CAS_SIGNING_KEY")
    lose(store)
    with pytest.raises(SignerMissing, match="tags and pins that are lost"):
        fsck(None, store.url, repair_from=[copy.url])
    assert store.bucket.list("") == []


def test_a_repair_that_may_set_no_ref_tells_the_rest(
    copied: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, copy = copied
    lose(store)
    fsck(None, store.url, repair_from=[copy.url])
    for key in objects_of_refs(store):
        if "/other/" in key:
            store.bucket.delete(key)
    monkeypatch.delenv("CAS_SIGNING_KEY")
    chunk = next(iter(store.bucket.list("chunks"))).key
    store.bucket.delete(chunk)
    checked = fsck(None, open_store(store.url), repair_from=[copy.url])
    assert (checked.sound, [item.what for item in checked.repaired.items]) == (True, ["chunk"])
    assert len(checked.refused) == 1 and "other:latest" in checked.refused[0] and "--sign-with" in checked.refused[0]
