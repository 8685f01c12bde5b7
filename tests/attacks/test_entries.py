"""Each attack on an entry or its signature ends a restore with exit code 8, and the operator takes it back."""

from __future__ import annotations

import pytest

from cas import refs
from cas.bucket import open_bucket
from cas.store.store import Store, open_store
from tests.attacks.acts import ACTS, Act
from tests.attacks.shop import EVIL, GOOD, OLD, Intruder, Reader, Shop
from tests.support.in_process import call_cas


@pytest.mark.parametrize("act", ACTS, ids=[act.name.replace(" ", "-") for act in ACTS])
def test_a_reader_with_the_release_key_refuses_what_others_run(act: Act, shop: Shop, reader: Reader) -> None:
    intruder = shop.intruder(act.identity)
    digests = {EVIL["model.bin"]: intruder.evil, OLD["model.bin"]: shop.old, GOOD["model.bin"]: shop.good}
    act.do(intruder)
    if act.files is not None:
        blind = refs.resolve(Store(open_bucket(shop.url)), act.ref)
        assert blind.digest == digests[act.files["model.bin"]]
    refused = reader.restore(act.ref)
    assert (refused.code, refused.files) == (8, {}), refused.error
    for words in (act.ref, f"entry {act.number} ", act.says):
        assert words in refused.error
    back = call_cas("rollback", act.ref)
    if act.back is None:
        assert back.returncode == 2, back.stderr
        back = call_cas("tag", f"m@blake3:{shop.good}", "latest")
    assert back.returncode == 0, back.stderr
    assert refs.resolve(open_store(), act.ref).digest == digests[(act.back or GOOD)["model.bin"]]


def test_an_attack_is_one_and_is_over_when_the_tag_is_moved_by_its_key(intruder: Intruder, reader: Reader) -> None:
    assert reader.restore("m:latest").files == GOOD
    intruder.append("m:latest", intruder.evil)
    assert reader.restore("m:latest", trusts=False).files == EVIL
    assert call_cas("rollback", "m:latest").returncode == 0
    for trusts in (True, False):
        assert reader.restore("m:latest", trusts=trusts).files == GOOD
