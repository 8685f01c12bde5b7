"""What the holder of the signing key does while an intruder is at work: nothing of the intruder's gets signed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cas
from cas import refs
from cas.errors import SignatureError
from cas.refs.history import history
from cas.store.store import open_store
from tests.attacks.shop import GOOD, Intruder, Reader, Shop
from tests.support.in_process import call_cas
from tests.support.models import REPO, write_tree


def test_a_publish_moves_on_from_an_unsigned_entry_and_builds_on_nothing_of_it(
    shop: Shop, intruder: Intruder, reader: Reader, tmp_path: Path
) -> None:
    intruder.append("m:latest", intruder.evil)
    source = cas.Source.from_folder(write_tree(tmp_path / "tree", {**GOOD, "config.json": b"[]"}), REPO)
    published = cas.publish("m", source, open_store())
    assert reader.restore("m:latest").files == {**GOOD, "config.json": b"[]"}
    shown = json.loads(call_cas("--json", "show", published.reference).stdout)
    assert intruder.evil not in json.dumps(shown)
    assert call_cas("rollback", "m:latest").returncode == 0
    assert refs.resolve(open_store(), "m:latest").digest == shop.good


def test_a_publish_of_what_an_unsigned_entry_names_signs_it_anew(shop: Shop, intruder: Intruder) -> None:
    key = intruder.append("m:latest", shop.good)
    for words in (("tag", f"m@blake3:{shop.good}", "latest"), ("tag", "m:prod", "latest")):
        assert call_cas(*words).returncode == 0
    *_, last = intruder.entries("m:latest")
    assert last != key
    assert intruder.signatures(key) == []
    assert len(intruder.signatures(last)) == 1
    assert refs.resolve(open_store(), "m:latest").digest == shop.good


def test_removing_a_tag_that_was_attacked_is_signed(intruder: Intruder, reader: Reader) -> None:
    for ref, words in (("m:latest", ("untag", "m:latest")), ("pin:eu-prod/m", ("unpin", "eu-prod", "m"))):
        intruder.append(ref, intruder.evil)
        done = call_cas(*words)
        assert done.returncode == 0, done.stderr
        assert reader.restore(ref).code == 3, "removed, which its key says"


def test_nothing_signs_what_came_after_it_was_shown(shop: Shop, intruder: Intruder, reader: Reader) -> None:
    blind = intruder.append("m:latest", shop.old)
    shown = call_cas("--json", "sign", "m:latest", "-n")
    assert shop.old in shown.stdout
    evil = intruder.append("m:latest", intruder.evil)
    done = call_cas("sign", "m:latest", "--expect", shop.old)
    assert done.returncode == 6, done.stderr
    assert intruder.signatures(blind) == intruder.signatures(evil) == []
    assert reader.restore("m:latest").code == 8


def test_what_is_promoted_is_what_was_signed(shop: Shop, intruder: Intruder) -> None:
    intruder.append("m:prod", intruder.evil)
    before = {entry.key: entry.tag for entry in shop.admin.list("refs")}
    for words in (
        ("tag", "m:prod", "latest"),
        ("pin", "eu-prod", "m:prod"),
        ("rollback", "m:latest", "--to", "m:prod"),
    ):
        assert call_cas(*words).returncode == 8
    assert {entry.key: entry.tag for entry in shop.admin.list("refs")} == before
    assert call_cas("rollback", "m:old", "--to", f"m@{intruder.evil[:12]}").returncode == 8
    assert call_cas("rollback", "m:latest", "--to", f"m@{shop.old[:12]}").returncode == 0, "digits of a signed move"


def test_a_sibling_without_a_signature_takes_nothing_off_the_way_back(shop: Shop, intruder: Intruder) -> None:
    intruder.write(intruder.next("m:latest", 2), intruder.entry(intruder.evil))
    moves = history(open_store(), "m:latest")
    assert [(move.number, move.digest, move.lost) for move in moves] == [
        (1, shop.old, False),
        (2, shop.good, False),
        (2, None, False),
    ]


def test_the_last_possible_number_is_told_and_is_nothing_to_go_on_from(intruder: Intruder, reader: Reader) -> None:
    last = intruder.append("m:latest", intruder.evil, 10**20 - 1)
    assert reader.restore("m:latest").code == 8
    done = call_cas("rollback", "m:latest")
    assert done.returncode == 6, done.stderr
    assert f"{last} in s3://" in done.stderr
    assert "delete that object" in done.stderr


def test_a_move_that_was_cut_off_names_what_its_signer_meant_and_only_until_the_next(
    shop: Shop, intruder: Intruder
) -> None:
    assert call_cas("tag", "m:old", "latest").returncode == 0
    *_, cut_off = intruder.entries("m:latest")
    data = intruder.read(cut_off)
    shop.admin.delete(cut_off)
    assert refs.resolve(open_store(), "m:latest").digest == shop.good
    intruder.write(cut_off.replace("00000003", "00000004"), data)
    with pytest.raises(SignatureError):
        refs.resolve(open_store(), "m:latest")
    shop.admin.delete(cut_off.replace("00000003", "00000004"))
    intruder.write(cut_off, data)
    assert refs.resolve(open_store(), "m:latest").digest == shop.old
    assert call_cas("tag", "m:prod", "latest").returncode == 0
    assert refs.resolve(open_store(), "m:latest").digest == shop.good


def test_a_copy_of_a_store_that_has_its_name_is_refused(shop: Shop, tmp_path: Path) -> None:
    """What is signed for one of them would count in the other."""
    done = call_cas("copy", "m:prod", shop.staging, env={"CAS_STORE_NAME": shop.url})
    assert done.returncode == 2, done.stderr
    assert "CAS_STORE_NAME" in done.stderr
