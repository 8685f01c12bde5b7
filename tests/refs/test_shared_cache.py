"""Readers that share a hub cache: what one of them has seen is no reason for another to refuse what is newer."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.errors import SignatureError
from cas.local.trusted_keys import Trust
from cas.refs.reference import last_move, log_of, parse_reference
from cas.refs.reflog import RefLog
from cas.store.store import open_store
from tests.support.keys import key
from tests.support.models import REPO, put_model


def test_a_move_that_another_reader_has_seen_meanwhile_is_read_and_not_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.signer, store.trust = key(), Trust({key().public.id: key().public})
    put_model(store, {REPO: {"a.bin": b"one"}})
    log, hubs = log_of(store, parse_reference("m")), [tmp_path / "hub"]
    listed = store.bucket.list(log.ref.prefix)  # by a reader that is slow
    put_model(store, {REPO: {"a.bin": b"two"}})
    seen = last_move(log, hubs, keep=True)  # by one that is not
    slow = last_move(RefLog(store, log.ref, list(listed)), hubs, keep=True)
    assert seen is not None and slow == seen and seen.number == 2
    for entry in list(store.bucket.list(log.ref.prefix)):
        if "/00000002-" in entry.key:
            store.bucket.delete(entry.key)
    with pytest.raises(SignatureError, match="entry 2"):
        last_move(log, hubs, keep=True)
